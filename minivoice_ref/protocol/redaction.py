"""What may be written down of what a peer sent: nothing secret, nothing that garbles a terminal.

Everything that ends in a log, a report or on a page goes through here first. A secret is known by
the name that it stands under (a header, a query's field, a JSON key), by its place (the segment
after `/stream/`), or by its shape (our own stream tokens, wherever they turn up). Of a stream's
token the first six characters stay, so that two log lines can be seen to speak of the same one.

This module decides what is hidden; it never decides whether something is logged at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote

from minivoice_ref.protocol.media import WireMessage

__all__ = ["REDACTED", "escape", "excerpt", "hide_tokens", "redact_headers", "redact_path"]
__all__ += ["redact_subprotocols", "redact_text", "redact_url"]

REDACTED = "[redacted]"
_REDACTED_JSON = '"[redacted]"'

# One list for headers, for the fields of queries and for JSON: what a secret's name contains, its
# hyphens and underscores left out, and what is a word of it.
_IN_NAMES = re.compile(
    "signature|token|secret|password|passwd|credential|authorization|cookie|bearer|jwt|oauth"
    "|pwd|^auth(?!or)|(?:api|access|private|shared)key|key$|sig$"
)
_WORDS = {"auth", "key", "sig", "pwd", "hmac"}
# RFC 6455 section 1.3: the first guards caches, not doors. The second is a key of a telephone.
_NOT_SECRET = {"secwebsocketkey", "finishonkey"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# A stream token as signing.mint_token makes it: MAC, expiry, subject.
_TOKEN = re.compile(r"([A-Za-z0-9_-]{6})[A-Za-z0-9_-]{37}\.[0-9]{1,15}\.[A-Za-z0-9_-]+")
_STREAM_SEGMENT = re.compile(r"(/stream/+)([^/?#\s\"\\…]{1,6})[^/?#\s\"\\]*", re.IGNORECASE)
_FIELD = re.compile(r"([?&;#])([^=&;#]*)=([^&;#]*)")
_USER = re.compile(r"(//)[^/?#]*@")
_JSON_MEMBER = re.compile(
    r'("([^"\\]*)"\s*:\s*)(?:"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[^\s",:{}\[\]]+)', re.DOTALL
)
_MARGIN = (
    4096  # characters read beyond an excerpt's end, so that a secret on its edge is still whole
)


def redact_headers(
    headers: Iterable[tuple[str, str]], *, subprotocols: Collection[str] = ()
) -> list[tuple[str, str]]:
    """The same headers in the same order, without secret ones' values and secrets in URLs.

    Of proposed subprotocols, those that stand in *subprotocols* are shown.
    """
    return [(escape(name), _header(name, value, subprotocols)) for name, value in headers]


def _header(name: str, value: str, subprotocols: Collection[str]) -> str:
    if name.lower() == "sec-websocket-protocol":
        proposed = [part.strip() for part in value.split(",")]
        return ", ".join(redact_subprotocols(proposed, subprotocols))
    return REDACTED if _is_secret(name) else redact_url(value)


def redact_subprotocols(proposed: Iterable[str], known: Collection[str]) -> list[str]:
    """What is *known* of the proposed subprotocols; browsers send their tokens among them."""
    return [name if name in known else REDACTED for name in proposed]


def redact_path(path: str) -> str:
    """A request's path or target without its token and without the secret fields of its query."""
    if "%" in path and not _STREAM_SEGMENT.search(path):
        # The door decodes a path before it looks at it, and so must we.
        decoded = unquote(path, "latin-1")
        path = decoded if _STREAM_SEGMENT.search(decoded) else path
    return escape(_FIELD.sub(_redact_field, hide_tokens(path)))


def redact_url(url: str) -> str:
    """A URL without user and password, without its token and its secret fields; faulty ones too."""
    return redact_path(_USER.sub(rf"\1{REDACTED}@", url, count=1))


def redact_text(text: str) -> str:
    """The whole of a text message without stream tokens and without values of secret JSON keys.

    What was JSON still is, with the same members; nothing is escaped or cut.
    """
    return hide_tokens(_JSON_MEMBER.sub(_redact_member, text))


def excerpt(message: WireMessage, limit: int) -> str:
    """At most *limit* characters of a message for a log: text escaped, audio in hexadecimal.

    Text keeps its form except for values under secret JSON keys and for stream tokens. An ellipsis
    at the end says that there was more.
    """
    if isinstance(message, bytes) and message.startswith(b'{"'):
        # A start may come as a binary message (some platforms do it), and carries secrets all the
        # same.
        message = message[: limit + _MARGIN].decode("utf-8", "replace")
    if isinstance(message, bytes):
        text = message[: limit // 2 + 1].hex()
    else:
        text = _JSON_MEMBER.sub(_redact_member, message[: limit + _MARGIN])
        text = escape(hide_tokens(text))
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"[:limit]


def hide_tokens(text: str) -> str:
    """*text* with each stream token in it cut to six characters, by its shape or by its place."""
    return _STREAM_SEGMENT.sub(r"\1\2…", _TOKEN.sub(r"\1…", text))


def escape(text: str) -> str:
    """*text* on one line: control, format and surrogate characters as backslash escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_secret(name: str) -> bool:
    joined = re.sub("[^a-z0-9]", "", name.lower())
    if joined in _NOT_SECRET:
        return False
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(_IN_NAMES.search(joined) or words & _WORDS)


def _redact_field(match: re.Match[str]) -> str:
    before, name, _ = match.groups()
    return f"{before}{name}={REDACTED}" if _is_secret(unquote(name)) else match.group()


def _redact_member(match: re.Match[str]) -> str:
    before, name = match.groups()
    return before + _REDACTED_JSON if _is_secret(name) else match.group()
