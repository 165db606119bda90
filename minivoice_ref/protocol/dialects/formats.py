"""The format that a start names for its audio: which codec, and how many samples a second.

A start is never refused for its format. What is missing or misspelled is taken from the settings,
each part for itself, and said to be assumed. A codec that is named but unknown is something else:
its audio is certainly not in the format of the settings, so nobody makes samples of it. It is
handed on as it came, as `unknown`.

Facts: RFC 3551 section 4.5.14 (PCMU and PCMA have 8000 samples a second), RFC 2586 for "L16"; the
other spellings are those of the platforms and speech services of the field.

Read next: `json_family.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from minivoice_ref.protocol.dialects.fields import faulted, number, shown
from minivoice_ref.protocol.media import Encoding, MediaFormat, StreamEvent, WireMessage

__all__ = ["NamedFormat", "read_format", "unknown_format"]

_SAMPLE_RATES = range(1000, 384001)
_TELEPHONE = 8000  # samples a second of G.711
_NOT_RECORDED = "its audio is handed on as it comes, and not recorded"

# Names in lower case, without `audio/`, `x-`, and the marks `_`, `-` and `.`.
_ENCODINGS: Mapping[str, Encoding | Literal["l16"]] = {
    "mulaw": "mulaw",
    "ulaw": "mulaw",
    "pcmu": "mulaw",
    "g711u": "mulaw",
    "g711ulaw": "mulaw",
    "g711mulaw": "mulaw",
    "alaw": "alaw",
    "pcma": "alaw",
    "g711a": "alaw",
    "g711alaw": "alaw",
    "l16": "l16",
    "l16le": "l16le",
    "l16be": "l16be",
    "raw": "l16le",
    "pcm": "l16le",
    "pcm16": "l16le",
    "pcms16le": "l16le",
    "linear16": "l16le",
    "slin": "l16le",
}


class NamedFormat(NamedTuple):
    """The format of one track as a start names it; what of it could not be read, and what follows.

    `assumed` says that a part of it is the settings'. An unknown codec is not assumed to be one.
    """

    format: MediaFormat
    faults: tuple[str, ...] = ()
    assumed: bool = False

    def told(self, message: WireMessage, where: str) -> list[StreamEvent]:
        """An `Unknown` that says what could not be read *where* in *message*; none for nothing."""
        return faulted(message, where, list(self.faults))


def read_format(
    encoding: object,
    rates: Mapping[str, object],
    rate_name: str,
    *,
    l16: Literal["l16le", "l16be"],
    fallback: MediaFormat,
) -> NamedFormat:
    """One track's format from a peer's name of the codec and the number *rate_name* in *rates*.

    A codec is named as `audio/x-mulaw`, `PCMU` or `audio/l16;rate=16000`. *l16* is the byte order
    where the name leaves it open, *fallback* says what is missing. One channel, always: a message
    that names its track carries that track alone.
    """
    codec, parameter, faults = _codec(encoding, l16, fallback)
    named = parameter is not None
    rate = _rate(rates, rate_name, faults)
    if rate is None and parameter:
        rate = _rate({"rate": parameter}, "rate", faults)
    if rate is None:
        telephone = named and codec in ("mulaw", "alaw")
        if not faults and not telephone:
            faults.append(f"{rate_name} is missing")
        rate = _TELEPHONE if telephone else fallback.sample_rate
    format = MediaFormat(codec, rate, 1)
    if faults:
        faults.append(f"{format} is assumed" if format.readable else _NOT_RECORDED)
    return NamedFormat(format, tuple(faults), bool(faults) and format.readable)


def unknown_format(name: object, fallback: MediaFormat) -> NamedFormat:
    """The format of a codec that a peer calls *name*, and that we do not know by that name."""
    faults = (f"format {shown(name)} is not known", _NOT_RECORDED)
    return NamedFormat(MediaFormat("unknown", fallback.sample_rate, 1), faults)


def _codec(
    encoding: object, l16: Literal["l16le", "l16be"], fallback: MediaFormat
) -> tuple[Encoding, str | None, list[str]]:
    """What *encoding* means, the rate in its parameters (None: it is no name), and the faults."""
    if not isinstance(encoding, str) or not encoding:
        fault = "missing" if encoding is None or encoding == "" else "not text"
        return fallback.encoding, None, [f"encoding is {fault}"]
    name, _, parameters = encoding.partition(";")
    known = _ENCODINGS.get(_plain(name))
    faults = [f"encoding {shown(encoding)} is not known"] if known is None else []
    codec = l16 if known == "l16" else known or "unknown"
    words = (parameter.strip().partition("=") for parameter in parameters.split(";"))
    rate = next((value for word, _, value in words if word.lower() == "rate"), "")
    return codec, rate, faults


def _rate(fields: Mapping[str, object], name: str, faults: list[str]) -> int | None:
    """The sample rate *name*; None, and a fault, where it is none."""
    rate = number(fields, name, faults)
    if rate is None or rate in _SAMPLE_RATES:
        return rate
    faults.append(f"{name} {rate} is not a sample rate")
    return None


def _plain(name: str) -> str:
    plain = name.strip().lower().removeprefix("audio/").removeprefix("x-")
    return plain.replace("_", "").replace("-", "").replace(".", "")
