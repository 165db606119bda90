"""What the value of one parameter may be: the bounds that MiniVoice documents, one `Kind` each.

A `Kind` says in words what is wanted (that is the mend of everything wrong with it) and yields
every fault of a value. It knows neither the action nor the place: `action_table.py` puts kinds and
parameters together, `actions.py` adds the path.

Facts: MiniVoice documentation, actions; RFC 3986 (URLs), RFC 6455 section 3 (`wss` URLs have
neither user nor fragment), ITU-T E.164 (numbers of at most 15 digits), RFC 3261 section 19.1 (SIP
URIs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from minivoice_ref.protocol.documents import kind, nearest, shown
from minivoice_ref.protocol.redaction import redact_url

__all__ = ["DESTINATION", "DIGITS", "DTMF_KEY", "FLAG", "PROMPT", "ROOM", "TEXT", "Kind"]
__all__ += ["one_of", "url", "whole_number"]

_URL = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
_LABELS = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABELS}(?:\.{_LABELS})*\.?")
_IPV6 = re.compile(r"\[[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]+\]")
_AUTHORITY = re.compile(rf"(?:.*@)?(?P<host>{_HOST.pattern}|{_IPV6.pattern})(?::[0-9]*)?")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_SIP = re.compile(
    r"sips?:"
    r"(?:(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/:]|%[0-9A-Fa-f]{2})+@)?"
    rf"(?:{_HOST.pattern}|{_IPV6.pattern})"
    r"(?::[0-9]{1,5})?"
    r"(?:[;?](?:[A-Za-z0-9\-_.!~*'()&=+$,;?/:\[\]]|%[0-9A-Fa-f]{2})*)?",
    re.IGNORECASE,
)
_DTMF_KEYS = "0123456789*#ABCD"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be: `wanted` completes "write …", `faults` yields what is wrong with one."""

    wanted: str
    faults: Callable[[object], Iterator[str]]


def whole_number(low: int, high: int | None = None) -> Kind:
    """A whole number from *low* to *high* inclusive; None where no upper bound is documented."""
    wanted = f"a whole number from {low} to {high}" if high is not None else "a whole number"
    if high is None:
        wanted += f" of at least {low}"

    def faults(value: object) -> Iterator[str]:
        # JSON's true is an int to Python; to a peer in another language it never was.
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"is {kind(value)}, not a number"
        elif not isinstance(value, int):
            yield f"{shown(value)} is not a whole number"
        elif value < low or (high is not None and value > high):
            yield f"{shown(value)} is out of range"

    return Kind(wanted, faults)


def one_of(*choices: str) -> Kind:
    """One of a few words, spelled exactly so; at least two of them."""
    *others, last = choices
    wanted = f"{', '.join(others)} or {last}"

    def check(value: str) -> Iterator[str]:
        if value not in choices:
            meant = nearest(value, choices)
            yield f"{shown(value)} is not {wanted}" + (f" ({meant} was meant?)" if meant else "")

    return Kind(wanted, _string(check))


def url(*schemes: str) -> Kind:
    """An absolute URL with one of *schemes* and a host; `wss` by RFC 6455's stricter rules."""
    wanted = f"a URL such as {schemes[-1]}://media.example.com/minivoice"

    def check(value: str) -> Iterator[str]:
        quoted = shown(redact_url(value))
        parts = _split(value)
        if parts is None:
            yield f"{quoted} is not a URL"
            return
        if parts.scheme not in schemes:
            yield f"{quoted} has the scheme {parts.scheme}, not {' or '.join(schemes)}"
        if not _has_host(parts):
            yield f"{quoted} has no usable host"
        if "wss" in schemes and "@" in parts.netloc:
            yield f"{quoted} names a user, which a WebSocket URL cannot"
        if "wss" in schemes and "#" in value:
            yield f"{quoted} has a fragment, which a WebSocket URL cannot"

    return Kind(wanted, _string(check))


def _string(check: Callable[[str], Iterator[str]]) -> Callable[[object], Iterator[str]]:
    """A check of strings, extended to say so of everything that is none."""

    def faults(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield from check(value)
        else:
            yield f"is {kind(value)}, not a string"

    return faults


def _pattern(allowed: Callable[[str], bool], what: str) -> Callable[[object], Iterator[str]]:
    def check(value: str) -> Iterator[str]:
        if not allowed(value):
            yield f"{shown(value)} is not {what}" if value else "is empty"

    return _string(check)


def _flag(value: object) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"is {kind(value)}, not a boolean"


def _split(value: str) -> SplitResult | None:
    """The parts of an absolute URL; None where it is none. `urlsplit` alone lets pass too much."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme and _URL.fullmatch(value) else None


def _has_host(parts: SplitResult) -> bool:
    authority = _AUTHORITY.fullmatch(parts.netloc)
    return authority is not None and len(authority["host"]) <= 253 and parts.port != 0


def _is_destination(value: str) -> bool:
    return bool(_E164.fullmatch(value) or _SIP.fullmatch(value))


TEXT = Kind("the words to say", _pattern(lambda value: bool(value.strip()), "a text"))
PROMPT = Kind("the words to say", _string(lambda value: iter(())))
FLAG = Kind("true or false", _flag)
DTMF_KEY = Kind(
    "one key of 0-9 * # A-D",
    _pattern(lambda value: len(value) == 1 and value in _DTMF_KEYS, "one DTMF key"),
)
DIGITS = Kind(
    "keys of 0-9 * # A-D and the pauses w W ,",
    _pattern(lambda value: value != "" and not set(value) - set(_DTMF_KEYS + "wW,"), "digits"),
)
ROOM = Kind(
    "letters, digits, dots, hyphens and underscores",
    _pattern(lambda value: bool(re.fullmatch(r"[A-Za-z0-9._-]+", value)), "a room's name"),
)
DESTINATION = Kind(
    "a number such as +15551230002 or a URI such as sip:agent@example.com",
    _pattern(_is_destination, "an E.164 number or a SIP URI"),
)
