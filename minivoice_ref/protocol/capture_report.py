"""What is in a capture: its messages by kind, its tracks, what is missing, and what it sounds like.

The messages go through the same session and the same timelines as in the receiver, with the same
settings, so the account is the receiver's own. Beside it stands what only the times tell: how fast
the audio came and how evenly.

Knows no files: whoever wants the audio is called with it, piece by piece.
Read next: `capture_tracks.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from minivoice_ref.protocol.capture_format import CaptureReader, Lost, Message
from minivoice_ref.protocol.capture_tracks import OnAudio, Sample, TrackReport
from minivoice_ref.protocol.dialects.fields import object_of
from minivoice_ref.protocol.errors import LocalProtocolError, RemoteProtocolError
from minivoice_ref.protocol.format_guess import FormatGuess
from minivoice_ref.protocol.media import (
    Digit,
    Mark,
    Media,
    MediaFormat,
    Started,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.redaction import escape, excerpt
from minivoice_ref.protocol.session import MediaSession

__all__ = ["CaptureReport", "Kind", "examine", "read_format"]

_MOST_KINDS = 40  # of messages that are told apart; hostile ones could be of a thousand
_VERBATIM = 2000  # characters of a first message
_MOST_EVENTS = 50
_KIND_FIELDS = ("event", "eventType", "command", "type")


@dataclass(slots=True)
class Kind:
    """Messages of one kind: how many, how large, when the first came and what it said."""

    count: int
    bytes: int
    first_at: float
    first: str


@dataclass(slots=True)
class CaptureReport:
    """All that `examine` found; what a peer sent is escaped and bounded."""

    reader: CaptureReader
    dialect: str | None = None
    started: Started | None = None
    broken: str | None = None
    kinds: dict[str, Kind] = field(default_factory=dict)
    tracks: dict[Track, TrackReport] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    messages: int = 0
    last_at: float = 0.0
    guess: FormatGuess | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        reader, started, ended = self.reader, self.started, self.reader.ended
        hand = reader.handshake
        names = ("stream_id", "call_id", "began", "peer", "path", "subprotocol", "program")
        return {
            **{name: getattr(hand, name) for name in names},
            "headers": [list(header) for header in hand.headers],
            "settings": dict(hand.settings),
            "complete": ended is not None,
            "skipped_lines": reader.skipped,
            "lost_messages": self.lost,
            "seconds": round(self.last_at, 6),
            "ended": (
                None
                if ended is None
                else {"how": ended.how, "by": ended.by, "code": ended.code, "reason": ended.reason}
            ),
            "dialect": self.dialect,
            "assumed": started is not None and started.assumed,
            "format": None if started is None else str(started.format),
            "broken": self.broken,
            "messages": self.messages,
            "kinds": {
                name: {
                    "count": kind.count,
                    "bytes": kind.bytes,
                    "first_at": round(kind.first_at, 6),
                    "first": kind.first,
                }
                for name, kind in self.kinds.items()
            },
            "tracks": {name: track.to_json() for name, track in self.tracks.items()},
            "events": self.events,
            "unknown": dict(self.unknown),
            "guess": None if self.guess is None else self.guess.to_json(),
        }


def read_format(text: str) -> MediaFormat:
    """`ENCODING/RATE/CHANNELS` as a format. Raises ValueError."""
    encoding, rate, channels = text.split("/")
    if encoding not in ("mulaw", "alaw", "l16le", "l16be") or channels not in ("1", "2"):
        raise ValueError(text)
    if not 1000 <= int(rate) <= 384000:
        raise ValueError(text)
    return MediaFormat(encoding, int(rate), int(channels))  # type: ignore[arg-type]  # checked


def examine(
    reader: CaptureReader,
    *,
    dialect: str | None = None,
    fallback: MediaFormat | None = None,
    on_audio: OnAudio | None = None,
    guess: bool = True,
) -> CaptureReport:
    """Read a capture to its end and tell what is in it.

    *dialect* and *fallback* replace what the receiver was set to; *fallback* is the format also of
    audio in a codec that is named and unknown. Without *guess* no format is guessed, which takes
    some tenths of a second. Raises LocalProtocolError for no such dialect, and BadCapture where
    *reader* is strict.
    """
    return _Examiner(reader, dialect, fallback, on_audio).run(guess)


class _Examiner:
    """Fills one report."""

    def __init__(
        self,
        reader: CaptureReader,
        dialect: str | None,
        fallback: MediaFormat | None,
        on_audio: OnAudio | None,
    ) -> None:
        settings = reader.handshake.settings
        self.report = CaptureReport(reader)
        self._session = _session(settings, dialect, fallback)
        self._forced = None if fallback is None else replace(fallback, channels=1)
        self._on_audio = on_audio
        jump = settings.get("jump")
        self._jump = float(jump) if isinstance(jump, (int, float)) and 0 < jump < 1e9 else 3600.0
        self._samples: dict[str, Sample] = {}
        self._held: list[float] = []  # when the messages came that the session still holds

    def run(self, guess: bool) -> CaptureReport:
        report = self.report
        for record in report.reader:
            report.last_at = max(report.last_at, record.at)
            if isinstance(record, Lost):
                report.lost += record.messages
            elif isinstance(record, Message) and record.sender == "platform":
                self._message(record.at, record.content)
        if report.broken is None:
            self._take(report.last_at, self._session.close())
        report.dialect, started = self._session.dialect_name, self._session.started
        if started is not None and not started.format.readable and self._forced is not None:
            started = replace(started, format=self._forced, assumed=True)
        report.started = started
        if guess and self._samples:
            guesses = [sample.guess() for sample in self._samples.values()]
            good = [one for one in guesses if one.format is not None]
            report.guess = (good or guesses)[0]
        return report

    def _message(self, at: float, message: WireMessage) -> None:
        report = self.report
        report.messages += 1
        self._count(at, message)
        if isinstance(message, bytes):
            self._sample("binary", at, message)
        if report.broken is not None:
            return
        try:
            self._take(at, self._session.receive(message))
        except RemoteProtocolError as exc:
            report.broken = escape(str(exc))

    def _take(self, at: float, events: list[StreamEvent]) -> None:
        report = self.report
        times = iter(self._times(at, events))
        for event in events:
            if isinstance(event, Media):
                if not event.format.readable and self._forced is not None:
                    event = event._replace(format=self._forced)
                track = report.tracks.get(event.track)
                if track is None:
                    track = report.tracks[event.track] = TrackReport(event.format, self._jump)
                came = next(times)
                track.add(came, event, self._on_audio)
                if "binary" not in self._samples:
                    self._sample(event.track, came, event.payload)
            elif isinstance(event, Unknown):
                report.unknown[event.why if len(report.unknown) < _MOST_KINDS else "other"] += 1
            elif isinstance(event, (Digit, Mark)) and len(report.events) < _MOST_EVENTS:
                what = event.digit if isinstance(event, Digit) else event.name
                name = type(event).__name__.lower()
                report.events.append(f"{at:.3f} s: {name} {escape(what[:80])}")

    def _times(self, at: float, events: list[StreamEvent]) -> list[float]:
        """When each piece of audio among *events* came.

        The session may have held it for a while. A start that ends the holding is no audio itself.
        """
        if not events:
            self._held.append(at)
            return []
        times, self._held = [*self._held, at], []
        audio = sum(isinstance(event, Media) for event in events)
        starts = any(isinstance(event, Started) and not event.assumed for event in events)
        if starts and len(times) > 1:
            times.pop()
        if audio <= len(times):
            return times[len(times) - audio :]
        each = audio // len(times)  # a message with a piece for each of several tracks
        return [time for time in times for _ in range(each)] + [at] * (audio - each * len(times))

    def _count(self, at: float, message: WireMessage) -> None:
        kinds, name = self.report.kinds, _kind_of(message)
        if name not in kinds and len(kinds) >= _MOST_KINDS:
            name = "other"
        kind = kinds.get(name)
        if kind is None:
            kind = kinds[name] = Kind(0, 0, at, excerpt(message, _VERBATIM))
        kind.count += 1
        kind.bytes += len(message)

    def _sample(self, name: str, at: float, audio: bytes) -> None:
        sample = self._samples.get(name)
        if sample is None:
            sample = self._samples[name] = Sample(at)
        sample.add(at, audio)


def _kind_of(message: WireMessage) -> str:
    """What kind of message it is, as it calls itself."""
    if isinstance(message, bytes):
        return "binary"
    document = object_of(message)
    if document is None:
        return "text"
    names = (document.get(name) for name in _KIND_FIELDS)
    named = next((name for name in names if isinstance(name, str)), None)
    return "JSON" if named is None else escape(named[:40])


def _session(
    settings: Mapping[str, object], dialect: str | None, fallback: MediaFormat | None
) -> MediaSession:
    """The session that the receiver had, as far as the settings can be read."""
    given: dict[str, Any] = {}
    if settings.get("l16") in ("l16le", "l16be"):
        given["l16"] = settings["l16"]
    if settings.get("one_channel") in ("inbound", "outbound", "mixed"):
        given["one_channel"] = settings["one_channel"]
    for name in ("reorder_window", "hold_messages", "hold_bytes"):
        number = settings.get(name)
        if isinstance(number, int) and 0 < number < 1_000_000:
            given[name] = number
    try:
        given["fallback"] = fallback or read_format(str(settings.get("fallback")))
    except ValueError:
        pass
    if dialect is not None:
        return MediaSession(dialect=dialect, **given)
    try:
        return MediaSession(dialect=str(settings.get("dialect")), **given)
    except LocalProtocolError:
        return MediaSession(**given)
