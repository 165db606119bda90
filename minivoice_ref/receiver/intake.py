"""What every stream gets, whatever the application does: its account, its log, its recording.

All of it is synchronous and takes microseconds a message, because it runs in the receiving task,
which must never wait: message -> session -> events -> placed by the timeline -> recorded, and
handed over.

What a peer can cause as often as it likes (gaps, unknown messages, digits) is logged only the first
times and counted always; the closing account has the sums.

This module knows neither tasks nor sockets. Read next: `recording.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from minivoice_ref.config import Config, Limits
from minivoice_ref.protocol.media import (
    Digit,
    Mark,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.redaction import excerpt, redact_headers
from minivoice_ref.protocol.session import MediaSession
from minivoice_ref.protocol.timeline import Account, Timeline
from minivoice_ref.receiver.journal import Note
from minivoice_ref.receiver.media_stream import Frame, HandOver
from minivoice_ref.receiver.recording import Recording

if TYPE_CHECKING:
    from minivoice_ref.receiver.publisher import Publication

__all__ = ["Intake", "new_session", "told_of_start"]

_MOST_LINES = 50  # of one kind in the log of one stream


def new_session(config: Config) -> MediaSession:
    """The session of a new stream, with what the settings assume about its wire format."""
    l16 = None if config.l16 == "auto" else cast(Literal["l16le", "l16be"], config.l16)
    return MediaSession(
        dialect=config.dialect,
        fallback=config.media_format,
        l16=l16,
        one_channel=cast(Track, config.one_channel),
        reorder_window=config.limits.reorder,
        hold_messages=config.limits.held_messages,
        hold_bytes=config.limits.held_bytes,
    )


@dataclass(slots=True)
class _TrackState:
    """One track of a stream: where its audio goes, and how many pieces came."""

    format: MediaFormat
    timeline: Timeline
    frames: int = 0


class Intake:
    """Takes the messages of one stream. *on_start* is called when it has started, before its audio;
    *age* says how many seconds the stream has lasted.

    `stopped` says whether the platform has stopped the stream.
    """

    def __init__(
        self,
        session: MediaSession,
        hand_over: HandOver,
        limits: Limits,
        *,
        note: Note,
        on_start: Callable[[Started], None],
        age: Callable[[], float],
        recording: Recording | None = None,
        publication: Publication | None = None,
    ) -> None:
        self._session = session
        self._hand_over = hand_over
        self._limits = limits
        self._note = note
        self._on_start = on_start
        self._age = age
        self._tracks: dict[Track, _TrackState] = {}
        self._seen: Counter[str] = Counter()
        self._bytes_unread: Counter[Track] = Counter()
        self.messages = 0
        self.size = 0
        self.stopped = False
        self._recording = recording
        self._publication = publication
        self.tap: Callable[[Frame], None] | None = None  # of whoever watches (annex.py)

    def take(self, message: WireMessage) -> None:
        """Take one message. Raises RemoteProtocolError where the stream cannot go on after it."""
        self.messages += 1
        self.size += len(message)
        if self.messages <= self._limits.first_messages:
            kind = "text" if isinstance(message, str) else "binary"
            text = excerpt(message, self._limits.log_excerpt)
            self._note("message", number=self.messages, kind=kind, size=len(message), text=text)
        events = self._session.receive(message)
        if len(events) == 1 and type(events[0]) is Media:
            self._media(events[0])
        else:
            self._handle(events)

    def close(self) -> None:
        """Take what was still held back when the stream ended."""
        self._handle(self._session.close())

    def accounts(self) -> dict[Track, Account]:
        """The account of each track that was heard."""
        return {track: state.timeline.account for track, state in self._tracks.items()}

    def rates(self) -> dict[Track, int]:
        """The samples a second of each track that was heard."""
        return {track: state.format.sample_rate for track, state in self._tracks.items()}

    def summary(self) -> dict[str, Any]:
        """The sums so far, for the log and for the recording's JSON file."""
        return {
            "messages": self.messages,
            "bytes": self.size,
            "tracks": {track: _sums(state) for track, state in self._tracks.items()},
            "gaps": self._seen["gap"],
            "unknown": self._seen["unknown"],
            "bytes_unread": dict(self._bytes_unread),
            "dropped": dict(self._hand_over.dropped),
        }

    def told(self) -> dict[str, Any]:
        """The summary and, where the audio is published, how much of it was; for the log."""
        if (publication := self._publication) is None:
            return self.summary()
        published, dropped = dict(publication.published), publication.dropped
        return self.summary() | {"published": published, "publish_dropped": dropped}

    def _handle(self, events: list[StreamEvent]) -> None:
        for event in events:
            if type(event) is Media:
                self._media(event)
            elif isinstance(event, Started):
                self._on_start(event)
            elif isinstance(event, Stopped):
                self.stopped = True
            elif isinstance(event, Unknown):
                text = excerpt(event.message, self._limits.log_excerpt)
                self._note_first_times("unknown", "MV-404", why=event.why, text=text)
                self._hand_over.put(event)
            elif isinstance(event, (Digit, Mark)):
                kind, value = _told(event)
                self._note_first_times("event", None, kind=kind, value=value)
                self._hand_over.put(event)

    def _media(self, media: Media) -> None:
        track, payload, format, position, _, _ = media
        state = self._tracks.get(track)
        if state is None:
            state = self._first(media)
        state.frames += 1
        if not format.readable:
            self._unreadable(media)
            return
        samples, torn = divmod(len(payload), format.bytes_per_sample)
        place = None if torn else state.timeline.extend(position, samples)
        if place is None:
            self._place(media, state)
        else:  # the next piece after the last one, whole: so it is with nearly all
            self._pass_on(Frame(track, place, payload, format), samples)

    def _place(self, media: Media, state: _TrackState) -> None:
        """Place audio that is not simply the next; say what is odd about it."""
        if torn := media.torn:
            self._bytes_unread[media.track] += torn
        placement = state.timeline.place(media.position, media.samples, self._age())
        if placement.lost:
            place = placement.pieces[0].position - placement.lost
            lost = {"track": media.track, "position": place, "samples": placement.lost}
            self._note_first_times("gap", "MV-403", **lost)
        elif placement.kind == "jump":
            leap = {"position": media.position, "placed_at": placement.pieces[0].position}
            self._note_first_times("jump", "MV-406", track=media.track, **leap)
        width = media.format.bytes_per_sample
        for offset, position, length in placement.pieces:
            payload = media.payload[offset * width : (offset + length) * width]
            self._pass_on(Frame(media.track, position, payload, media.format), length)

    def _pass_on(self, frame: Frame, samples: int) -> None:
        self._hand_over.put_audio(frame, samples)
        if self.tap is not None:
            self.tap(frame)
        if self._recording is not None:
            self._recording.add(frame.track, frame.position, frame.payload, frame.format)
        if self._publication is not None:
            self._publication.add(frame, samples)

    def _unreadable(self, media: Media) -> None:
        """Hand on audio of an unknown codec as it came: nobody can tell where its samples are."""
        track = media.track
        self._bytes_unread[track] += len(media.payload)
        frame = Frame(track, media.position or 0, media.payload, media.format)
        self._hand_over.put(frame)
        if self._publication is not None:
            self._publication.add(frame, len(media.payload))

    def _first(self, media: Media) -> _TrackState:
        timeline = Timeline(media.format.sample_rate, self._limits.jump)
        state = self._tracks[media.track] = _TrackState(media.format, timeline)
        size, position = len(media.payload), media.position
        code = None if media.format.readable else "MV-410"
        self._note("first_media", track=media.track, position=position, bytes=size, code=code)
        return state

    def _note_first_times(self, what: str, code: str | None, **fields: object) -> None:
        """Note what may come often: trouble, where it has a *code*."""
        self._seen[what] += 1
        if self._seen[what] == _MOST_LINES:
            fields["more"] = "further ones of this stream are counted only"
        if self._seen[what] <= _MOST_LINES:
            self._note(what, code=code, **fields)


def told_of_start(started: Started, limit: int) -> dict[str, Any]:
    """What the platform calls the stream, and what else it says of it, in *limit* characters."""
    custom: dict[str, str] = {}
    room = limit
    for name, value in redact_headers(started.custom.items()):
        if room <= 0:
            custom["…"] = "…"
            break
        name, value = excerpt(name, room), excerpt(value, room)
        room -= len(name) + len(value)
        custom[name] = value
    stream_id = started.stream_id and excerpt(started.stream_id, limit)
    return {"platform_stream_id": stream_id, "custom": custom or None}


def _told(event: Digit | Mark) -> tuple[str, str]:
    """What happened, and its value, short enough for a log."""
    return ("digit", event.digit[:8]) if isinstance(event, Digit) else ("mark", event.name[:80])


def _sums(state: _TrackState) -> Mapping[str, object]:
    """What came of a track: pieces, seconds, and the account in samples."""
    account = state.timeline.account
    seconds = round(state.format.seconds(account.received), 3)
    return {"frames": state.frames, "seconds": seconds, **account.to_json()}
