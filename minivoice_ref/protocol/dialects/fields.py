"""Reading what peers put into JSON objects: tolerant of form, never of nonsense.

Numbers come as numbers from one platform and as text from the next; names of tracks come in several
spellings. Every reader here takes all of them. A missing optional value is None. Where a value is
there but cannot be meant, what hangs on it decides: without audio there is no piece of audio, so
that raises `Misread`, which a dialect turns into an `Unknown` event; without a sequence number
there is one all the same, so that is None, and a fault to tell beside it. The words of both are for
a log. No other exception leaves, whatever the document holds.

Read next: `formats.py`, then `json_family.py`, which is made of these.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Mapping
from types import MappingProxyType

from minivoice_ref.protocol.media import StreamEvent, Track, Unknown, WireMessage

__all__ = [
    "TRACKS",
    "Misread",
    "Positions",
    "as_json",
    "audio",
    "faulted",
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
_SURELY_EXACT = 16  # digits: a number of fewer is below it
_UNIX_MAGNITUDE = 10**11  # milliseconds: as a duration three years, as Unix time March 1973

TRACKS: Mapping[str, Track] = {
    "inbound": "inbound",
    "inbound_track": "inbound",
    "outbound": "outbound",
    "outbound_track": "outbound",
    "mixed": "mixed",
}
"""What peers call the tracks."""
_NOTHING: Mapping[str, object] = MappingProxyType({})
_decode = json.JSONDecoder().raw_decode


class Misread(ValueError):
    """A value in a message cannot be meant as it stands; the text says which and why."""


class Positions:
    """Turns a platform's timestamps into positions: samples from the start of the stream.

    Some platforms count milliseconds from the start of the stream, some send Unix time. The first
    timestamp tells by its magnitude; Unix time then counts from that first one, so that what is
    older, on the other track perhaps, has a negative position.
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
        # What json.loads does beside the scanning costs as much again, and an object that nothing
        # stands around, as nearly every message is, needs none of it.
        if type(message) is str and message.startswith("{") and message.endswith("}"):
            document, end = _decode(message)
            return document if end == len(message) else None
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


def number(fields: Mapping[str, object], name: str, faults: list[str]) -> int | None:
    """The whole number *name*, written as a number or as text; None where it is missing.

    None as well where it cannot be read: then *faults* has one more.
    """
    value = fields.get(name)
    if type(value) is str and len(value) < _SURELY_EXACT and value.isdecimal():
        return int(value)
    if value is None or value == "":
        return None
    try:
        # A fraction of a millisecond is a fraction of nothing that we count: round it.
        if type(value) is float or (type(value) is str and "." in value):
            result = round(float(value))
        else:
            result = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        faults.append(f"{name} is {shown(value)}, not a number")
        return None
    if -_LARGEST <= result <= _LARGEST:
        return int(result)
    faults.append(f"{name} is beyond all measure")
    return None


def faulted(message: WireMessage, where: str, faults: list[str]) -> list[StreamEvent]:
    """An `Unknown` that tells all *faults* that were met *where* in *message*; none for none."""
    return [Unknown(message, f"{where}: {'; '.join(faults)}")] if faults else []


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
    return TRACKS.get(value) if type(value) is str else None


def tracks_named(value: object) -> tuple[Track, ...]:
    """The tracks in a peer's list of names, each once, unknown names left out."""
    named = map(track_named, value) if type(value) is list else ()
    return tuple(dict.fromkeys(track for track in named if track is not None))


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
