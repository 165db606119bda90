"""Which dialect does a stream speak? Told by the shape of its messages, taking none of them.

Only a start tells for certain: `connected` is said alike by half the field, and a piece of audio
looks much the same everywhere. So `detect` answers for a start and has no opinion on the rest, and
`guess` decides for a stream whose start never came. `session.py` keeps every message that it showed
to either, and delivers it afterwards.

Knows no dialect by name but `minivoice`, which stands for all of them. Read next: `session.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from minivoice_ref.protocol.dialects.base import DIALECTS as _REGISTERED
from minivoice_ref.protocol.dialects.base import Dialect, Encoder, Sign
from minivoice_ref.protocol.dialects.fields import object_of
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import WireMessage

__all__ = [
    "ANY",
    "DIALECTS",
    "choose_subprotocol",
    "detect",
    "dialect_named",
    "encoder_named",
    "encoders",
    "foreign",
    "guess",
    "known_subprotocols",
    "look",
]

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(_REGISTERED)
"""Every dialect by its name, in the order in which they are asked; `raw`, the last resort, first:
in `guess` it wins where nobody knows anything."""

ANY = ("auto", "minivoice")
"""The names under which a stream is received whose messages tell the dialect."""

_STRENGTH = (
    Sign.NONE,
    Sign.POSSIBLE,
    Sign.LIKELY,
    Sign.STOP,
    Sign.LIKELY_START,
    Sign.START,
)
_STARTS = (Sign.LIKELY_START, Sign.START)


def dialect_named(name: str) -> type[Dialect]:
    """The dialect *name*. Raises LocalProtocolError where there is none, naming those there are."""
    try:
        return DIALECTS[name]
    except KeyError:
        known = ", ".join(DIALECTS)
        raise LocalProtocolError(f"no dialect is named {name!r}; there are: {known}") from None


def encoders() -> dict[str, type[Encoder]]:
    """What there is to speak, by name: every dialect, and the other forms of some."""
    return {
        name: encoder
        for own, dialect in DIALECTS.items()
        for name, encoder in {own: dialect.encoder, **dialect.other_encoders}.items()
    }


def encoder_named(name: str) -> Encoder:
    """A new encoder of the dialect *name*, or of the form of one that goes by that name.

    Raises LocalProtocolError where there is none, naming those there are.
    """
    known = encoders()
    if name not in known:
        listed = ", ".join(known)
        raise LocalProtocolError(f"no dialect is named {name!r}; there are: {listed}")
    return known[name]()


def choose_subprotocol(proposed: Sequence[str], dialect: str = "auto") -> str | None:
    """The WebSocket subprotocol to select of those *proposed*, None where none is ours.

    Only those that a platform insists on are known; *dialect* is what the receiver is set to.
    RFC 6455 section 4.2.2: selecting one that was not proposed fails the connection.
    """
    dialects = DIALECTS.values() if dialect in ANY else (dialect_named(dialect),)
    known = {subprotocol for one in dialects for subprotocol in one.subprotocols}
    return next((subprotocol for subprotocol in proposed if subprotocol in known), None)


def known_subprotocols() -> frozenset[str]:
    """The names of all subprotocols that a dialect knows: any other may be a secret."""
    return frozenset(name for dialect in DIALECTS.values() for name in dialect.subprotocols)


def detect(message: WireMessage) -> str | None:
    """The name of the dialect in which *message* begins a stream; None where it begins none."""
    sign, dialect = look(message, DIALECTS.values())
    return dialect.name if dialect is not None and sign in _STARTS else None


def look(
    message: WireMessage, dialects: Iterable[type[Dialect]]
) -> tuple[Sign, type[Dialect] | None]:
    """The strongest sign that any of *dialects* sees in *message*, and whose it is."""
    document = object_of(message)
    strongest, whose = Sign.NONE, None
    for dialect in dialects:
        sign = dialect.sign(message, document)
        if _STRENGTH.index(sign) > _STRENGTH.index(strongest):
            strongest, whose = sign, dialect
    return strongest, whose


def guess(messages: Iterable[WireMessage], dialects: Iterable[type[Dialect]]) -> type[Dialect]:
    """The one of *dialects* that knows most of *messages*; of several, the one that most of them
    are written like, and then the first.

    There must be at least one dialect to choose from.
    """
    seen = [(message, object_of(message)) for message in messages]

    def known(dialect: type[Dialect]) -> tuple[int, int]:
        signs = [dialect.sign(*one) for one in seen]
        return len(signs) - signs.count(Sign.NONE), signs.count(Sign.LIKELY)

    return max(dialects, key=known)


def foreign(message: WireMessage) -> str | None:
    """Why *message* begins no stream that can be read, in words; None where we do not know it.

    For platforms of the field that want more of a receiver than listening.
    """
    document = object_of(message) or {}
    if document.get("command") == "connect" and "callId" in document:
        return "a stream of Sinch, which waits for a command in return: not supported"
    if document.get("type") == "open" and "serverseq" in document:
        return "a session of Genesys AudioHook, a protocol of its own: not supported"
    return None
