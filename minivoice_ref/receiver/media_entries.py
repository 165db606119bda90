"""What stands in Redis for a media stream: entries of flat fields, the audio as it came.

    what    other fields                                       how often
    ------  -------------------------------------------------  -------------------------------------
    start   stream, node, dialect, encoding, rate, channels,   first; again where it says more
            tracks, and call where it is known
    audio   track, position, payload; and encoding, rate,      one for each piece of audio
            channels where they are not those of the start
    end     how, and of each track TRACK.NAME for each name    last
            of its account, TRACK.published, TRACK.dropped

`position` and all counts are samples, `rate` samples a second, `tracks` has spaces between; the
payload is the bytes that the platform sent, in that encoding. A start also stands, with the same
fields, among the announcements. A reader passes over what it does not know.

Pure: values in, fields out, and back. Read next: `publisher.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, get_args

from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.media import Encoding, MediaFormat, Started, Track
from minivoice_ref.protocol.timeline import Account
from minivoice_ref.receiver.media_stream import Frame

__all__ = [
    "PLAIN_AUDIO",
    "Begun",
    "Ended",
    "Entry",
    "Fields",
    "audio_entry",
    "end_entry",
    "read_entry",
]
__all__ += ["start_entry"]

Fields: TypeAlias = tuple[str | bytes | int, ...]
"""Names and values in turn, as Redis takes them."""

PLAIN_AUDIO = ("what", "track", "position", "payload")
"""The names of the fields of audio in the usual format, in order."""

_T = TypeVar("_T", bound=str)
_TRACKS: tuple[Track, ...] = get_args(Track)
_ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream has started at the receiver *node*, or is better known; its call may be unknown."""

    stream_id: str
    call_id: str | None
    node: str
    started: Started


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stream ended, and its account. `dropped` are the samples that did not get into Redis.

    `published` and `dropped` of a track add up to what its account has as received; of a codec that
    nobody can read both count bytes.
    """

    how: str
    accounts: Mapping[Track, Account]
    published: Mapping[Track, int]
    dropped: Mapping[Track, int]


Entry: TypeAlias = Begun | Frame | Ended
"""What an entry says."""


def start_entry(begun: Begun) -> Fields:
    """The fields of a start."""
    started = begun.started
    fields: dict[str, str | bytes | int] = {
        "what": "start",
        "stream": begun.stream_id,
        "node": begun.node,
        "dialect": started.dialect,
        "encoding": started.format.encoding,
        "rate": started.format.sample_rate,
        "channels": started.format.channels,
        "tracks": " ".join(started.tracks),
    }
    if begun.call_id is not None:  # which is whatever the platform says
        fields["call"] = begun.call_id.encode("utf-8", "backslashreplace")
    return _flat(fields)


def audio_entry(frame: Frame, usual: MediaFormat) -> Fields:
    """The fields of a piece of audio of a stream whose start told of the *usual* format."""
    fields: Fields = ("what", "audio", "track", frame.track, "position", frame.position)
    format = frame.format
    if format != usual:
        fields += ("encoding", format.encoding, "rate", format.sample_rate)
        fields += ("channels", format.channels)
    return (*fields, "payload", frame.payload)


def end_entry(ended: Ended) -> Fields:
    """The fields of an end."""
    fields: dict[str, str | bytes | int] = {"what": "end", "how": ended.how}
    for track, account in ended.accounts.items():
        sums = account.to_json()
        sums["published"] = ended.published.get(track, 0)
        sums["dropped"] = ended.dropped.get(track, 0)
        fields |= {f"{track}.{name}": value for name, value in sums.items()}
    return _flat(fields)


def _flat(fields: Mapping[str, str | bytes | int]) -> Fields:
    return tuple(part for item in fields.items() for part in item)


def read_entry(fields: Mapping[bytes, bytes], usual: MediaFormat | None = None) -> Entry | None:
    """What an entry says; None where it is of a kind that is not known here.

    *usual* is the format that the start told. Raises RemoteProtocolError where fields lack or
    cannot be read: what stands in Redis others may have written.
    """
    what = fields.get(b"what")
    try:
        if what == b"audio" and usual is not None:
            track = _one_of(_TRACKS, fields[b"track"])
            format = _format(fields) if b"encoding" in fields else usual
            return Frame(track, int(fields[b"position"]), fields[b"payload"], format)
        if what == b"start":
            return _begun(fields)
        return _ended(fields) if what == b"end" else None
    except (KeyError, ValueError) as exc:
        raise RemoteProtocolError(f"an entry that says {what!r} cannot be read: {exc}") from exc


def _begun(fields: Mapping[bytes, bytes]) -> Begun:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    tracks = tuple(_one_of(_TRACKS, track) for track in fields[b"tracks"].split())
    call_id = text.get("call")
    started = Started(text["dialect"], _format(fields), tracks, call_id=call_id)
    return Begun(text["stream"], call_id, text["node"], started)


def _ended(fields: Mapping[bytes, bytes]) -> Ended:
    names = [field.name for field in dataclasses.fields(Account)]
    accounts: dict[Track, Account] = {}
    published: dict[Track, int] = {}
    dropped: dict[Track, int] = {}
    for track in _TRACKS:
        of_track = f"{track}.".encode()
        told = {
            name.removeprefix(of_track).decode(): int(value)
            for name, value in fields.items()
            if name.startswith(of_track)
        }
        if told:
            accounts[track] = Account(**{name: told[name] for name in names})
            published[track], dropped[track] = told["published"], told["dropped"]
    return Ended(fields[b"how"].decode(), accounts, published, dropped)


def _format(fields: Mapping[bytes, bytes]) -> MediaFormat:
    encoding = _one_of(_ENCODINGS, fields[b"encoding"])
    format = MediaFormat(encoding, int(fields[b"rate"]), int(fields[b"channels"]))
    if format.sample_rate <= 0 or format.channels <= 0:
        raise ValueError(str(format))
    return format


def _one_of(known: tuple[_T, ...], given: bytes) -> _T:
    for one in known:
        if one == given.decode():
            return one
    raise ValueError(f"{given!r} is none of {', '.join(known)}")
