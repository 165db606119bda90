"""Reading what peers put into JSON objects: tolerant of form, never of nonsense.

Numbers come as numbers from one platform and as text from the next; names of tracks and codecs come
in several spellings. Every reader here takes all of them and raises `Misread`, with words for a
log, where a value is there but cannot be meant. A missing optional value is None. No other
exception leaves, whatever the document holds: a dialect turns `Misread` into an `Unknown` event.

Read next: `json_family.py`, which is made of these.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from minivoice_ref.protocol.media import Encoding, MediaFormat, Track, WireMessage

__all__ = [
    "Misread",
    "Positions",
    "as_json",
    "audio",
    "media_format",
    "number",
    "object_in",
    "object_of",
    "parameters",
    "scalars",
    "shown",
    "text",
    "track_named",
    "tracks_named",
]

_LARGEST = 2**53  # beyond it JSON numbers are not exact, and no clock of a call counts so far
_UNIX_MAGNITUDE = 10**11  # milliseconds: as a duration three years, as Unix time March 1973
_SAMPLE_RATES = range(1000, 384001)

_TRACKS: Mapping[str, Track] = {
    "inbound": "inbound",
    "inbound_track": "inbound",
    "outbound": "outbound",
    "outbound_track": "outbound",
    "mixed": "mixed",
}
_ENCODINGS: Mapping[str, Encoding | Literal["l16"]] = {
    "mulaw": "mulaw",
    "ulaw": "mulaw",
    "pcmu": "mulaw",
    "alaw": "alaw",
    "pcma": "alaw",
    "l16": "l16",
    "l16le": "l16le",
    "l16be": "l16be",
    "raw": "l16le",
}
_NOTHING: Mapping[str, object] = MappingProxyType({})


class Misread(ValueError):
    """A value in a message cannot be meant as it stands; the text says which and why."""


class Positions:
    """Turns a platform's timestamps into positions: samples from the start of the stream.

    Some platforms count milliseconds from the start of the stream, some send Unix time. The first
    timestamp tells by its magnitude; Unix time then counts from that first one.
    """

    __slots__ = ("_base", "_sample_rate")

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._base: int | None = None

    def at(self, timestamp_ms: int) -> int:
        """The position of *timestamp_ms*, to the nearest sample."""
        if self._base is None:
            self._base = timestamp_ms if timestamp_ms >= _UNIX_MAGNITUDE else 0
        return ((timestamp_ms - self._base) * self._sample_rate + 500) // 1000


def object_of(message: WireMessage) -> dict[str, object] | None:
    """The message as a JSON object; None where it is none, whatever the reason.

    Binary messages count too: some senders mark their JSON so.
    """
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return document if type(document) is dict else None


def object_in(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The object *name*; an empty one where it is missing or something else."""
    value = fields.get(name)
    return value if type(value) is dict else _NOTHING


def as_json(value: object) -> str:
    """*value* as JSON text in its shortest form, for writing messages."""
    return json.dumps(value, separators=(",", ":"))


def shown(value: object) -> str:
    """A value of a peer's for a log line: short, and safe however deep or long the value is."""
    if isinstance(value, str):
        return ascii(value[:40])
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return str(value)[:40]


def text(fields: Mapping[str, object], name: str) -> str | None:
    """The text *name*, a number as its digits; None where it is missing, empty or neither."""
    value = fields.get(name)
    if type(value) is int:
        return str(value)
    return _clean(value) if isinstance(value, str) and value else None


def number(fields: Mapping[str, object], name: str) -> int | None:
    """The whole number *name*, written as a number or as text; None where it is missing."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        # A fraction of a millisecond is a fraction of nothing that we count: round it.
        if type(value) is float or (type(value) is str and "." in value):
            result = round(float(value))
        else:
            result = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        raise Misread(f"{name} is {shown(value)}, not a number") from None
    if not -_LARGEST <= result <= _LARGEST:
        raise Misread(f"{name} is beyond all measure")
    return int(result)


def audio(fields: Mapping[str, object], name: str) -> bytes:
    """The base64 text *name* as bytes. Strict: a character skipped shifts all samples after it."""
    value = fields.get(name)
    if type(value) is not str:
        raise Misread(f"{name} is {'missing' if value is None else shown(value)}, not base64 text")
    try:
        payload = a2b_base64(value, strict_mode=True)
    except ValueError as exc:
        raise Misread(f"{name} is not base64: {exc}") from None
    if not payload:
        raise Misread(f"{name} is empty")
    return payload


def track_named(value: object) -> Track | None:
    """The track that a peer's name for it means; None where it means none that we know."""
    return _TRACKS.get(value) if type(value) is str else None


def tracks_named(value: object) -> tuple[Track, ...]:
    """The tracks in a peer's list of names, each once, unknown names left out."""
    named = map(track_named, value) if type(value) is list else ()
    return tuple(dict.fromkeys(track for track in named if track is not None))


def media_format(
    encoding: object, sample_rate: int | None, l16: Literal["l16le", "l16be"]
) -> MediaFormat:
    """One track's format from a peer's name of the codec: `audio/x-mulaw`, `PCMU`, `audio/l16;x=y`.

    *l16* is the byte order where the name leaves it open. One channel, always: a message that names
    its track carries that track alone.
    """
    if type(encoding) is not str:
        raise Misread("encoding is missing" if encoding is None else "encoding is not text")
    name = encoding.partition(";")[0].strip().lower().removeprefix("audio/").removeprefix("x-")
    known = _ENCODINGS.get(name)
    if known is None:
        raise Misread(f"encoding {shown(encoding)} is not known")
    if sample_rate is None or sample_rate not in _SAMPLE_RATES:
        raise Misread(f"sampleRate {sample_rate} is not a sample rate")
    return MediaFormat(l16 if known == "l16" else known, sample_rate, 1)


def scalars(value: object) -> dict[str, str]:
    """The simple members of a peer's object as text; nested ones are left out."""
    if type(value) is not dict:
        return {}
    return {
        _clean(key): _clean(member) if isinstance(member, str) else json.dumps(member)
        for key, member in value.items()
        if not isinstance(member, (dict, list))
    }


def parameters(value: object) -> dict[str, str]:
    """A customer's own parameters: an object's simple members, or text such as `a=1;b=2`."""
    if type(value) is not str:
        return scalars(value)
    pairs = (pair.partition("=") for pair in value.split(";"))
    return {_clean(name.strip()): _clean(word.strip()) for name, _, word in pairs if name.strip()}


def _clean(value: str) -> str:
    """*value* without the halves of surrogate pairs that JSON can hold and UTF-8 cannot."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
