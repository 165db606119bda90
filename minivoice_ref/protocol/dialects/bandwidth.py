"""Bandwidth: keyed by `eventType`, media flat, the format with each track, no timestamps.

Without timestamps only the order of arrival places the audio. No source knows one stream with two
formats; where there are two, each track is read in its own, and the stream's is that of the first
one that can be read.

Read next: `binary_family.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import DialectSettings, Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import (
    Misread,
    as_json,
    audio,
    faulted,
    number,
    object_in,
    shown,
    track_named,
    tracks_named,
)
from minivoice_ref.protocol.dialects.formats import NamedFormat
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.media import (
    Encoding,
    Media,
    MediaFormat,
    Started,
    StreamEvent,
    Track,
    WireMessage,
)

__all__ = ["BandwidthDialect", "BandwidthEncoder"]

_ENCODING_NAMES: Mapping[Encoding, str] = {"mulaw": "audio/PCMU"}
_MEDIA = '{"eventType":"media","track":"%s","payload":"%s","sequenceNumber":%d}'


class BandwidthEncoder(JsonEncoder):
    """Writes the shape; digits and marks have no message here."""

    has_timestamps = False

    def _start(self, started: Started) -> list[WireMessage]:
        encoding = self._named(started.format, _ENCODING_NAMES)
        self._need_identity(started)
        self._need_parties(started)
        format = {"encoding": encoding, "sampleRate": started.format.sample_rate}
        message = {
            "eventType": "start",
            "metadata": _identity(started)
            | {"tracks": [{"name": track, "mediaFormat": format} for track in started.tracks]},
            "streamParams": dict(started.custom),
        }
        return [as_json(message)]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        return _MEDIA % (track, payload, sequence)

    def _stop(self, started: Started) -> list[WireMessage]:
        return [as_json({"eventType": "stop", "metadata": _identity(started)})]


def _identity(started: Started) -> dict[str, object]:
    return {
        "accountId": started.account_id or "",
        "callId": started.call_id,
        "streamId": started.stream_id,
    }


class BandwidthDialect(JsonDialect, name="bandwidth"):
    """Reads the shape."""

    encoder = BandwidthEncoder
    numbers = int
    media_name_stream = False
    names = Names(event="eventType", body="metadata", format="tracks", custom="streamParams")

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._formats: dict[Track | None, MediaFormat] = {}

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """Nobody else says `eventType`, and `metadata` besides."""
        return Sign.START if body else Sign.POSSIBLE

    def _media(self, message: WireMessage, document: Mapping[str, object]) -> list[StreamEvent]:
        track = track_named(document.get("track"))
        if track is None:
            raise Misread(f"track {shown(document.get('track'))} is not known")
        payload = audio(document, "payload")
        self._binary = False
        faults: list[str] = []
        sequence = number(document, self._sequence_name, faults)
        event = Media(track, payload, self._formats.get(track, self._format), None, sequence)
        return [event, *faulted(message, "media", faults)]

    def _format_of(self, body: Mapping[str, object]) -> NamedFormat:
        """The format of the first track that has one to read; the faults are those of all."""
        formats: dict[Track | None, MediaFormat] = {}
        faults: dict[str, None] = {}  # each once: both tracks mostly have the same
        first, assumed = self._format, False
        for described in _described(body):
            named = self._read_format(object_in(described, "mediaFormat"), first)
            if named.format.readable and not any(one.readable for one in formats.values()):
                first = named.format
            formats[track_named(described.get("name"))] = named.format
            faults.update(dict.fromkeys(named.faults))
            assumed = assumed or named.assumed
        if not formats:
            return NamedFormat(first, ("no track is described", f"{first} is assumed"), True)
        self._formats = formats
        if not any(one.readable for one in formats.values()):
            first = next(iter(formats.values()))
        if any(one.sample_rate != first.sample_rate for one in formats.values()):
            faults[f"the tracks differ: only those with {first.sample_rate} can be recorded"] = None
        return NamedFormat(first, tuple(faults), assumed)

    def _tracks_of(self, body: Mapping[str, object]) -> tuple[Track, ...]:
        return tracks_named([track.get("name") for track in _described(body)])


def _described(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The descriptions of the tracks in a start's metadata."""
    tracks = body.get("tracks")
    return [track for track in tracks if type(track) is dict] if type(tracks) is list else []
