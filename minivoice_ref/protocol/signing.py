"""Signatures of webhooks, and the tokens that tie a stream to its call.

Both are HMAC-SHA-256 and compared in constant time. A webhook's signature is MiniVoice's, with the
customer's secret. A stream token is ours: our answer puts it into the path of the `stream_url`, and
when the platform connects there we know for which call, whatever its wire format says. This module
has no clock: the caller says what time it is, in Unix seconds.

Facts: MiniVoice documentation, webhooks (both headers; `v1=` and the hexadecimal HMAC of the
timestamp, a full stop and the raw body). Assumptions: the timestamp's unit is not documented, so
Unix seconds, milliseconds and finer (told apart by magnitude) and RFC 3339 are all read; its
tolerance is a setting.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from minivoice_ref.protocol.errors import LocalProtocolError, RemoteProtocolError
from minivoice_ref.protocol.webhooks import parse_time

__all__ = ["BadSignature", "BadToken", "LONGEST_SUBJECT", "SIGNATURE_HEADER", "StreamToken"]
__all__ += ["TIMESTAMP_HEADER", "check_webhook", "mint_token", "read_token", "sign_webhook"]

TIMESTAMP_HEADER = "X-MiniVoice-Timestamp"
SIGNATURE_HEADER = "X-MiniVoice-Signature"

LONGEST_SUBJECT = 256
"""Characters of a token's subject. A longer call id is hostile, and would not fit into a URL."""

SignatureFault: TypeAlias = Literal["missing", "malformed", "wrong", "stale"]
TokenFault: TypeAlias = Literal["malformed", "forged", "expired"]

_SIGNATURE = re.compile(r"v1=([0-9A-Fa-f]{64})")
_UNIX = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?")
_TOKEN = re.compile(r"([A-Za-z0-9_-]{43})\.(([0-9]{1,15})\.([A-Za-z0-9_-]{1,1400}))")
# Seconds beyond this are the year 5138, milliseconds below it the year 1973: neither is meant.
_MAGNITUDE = 1e11
# What is signed begins with its purpose, so that one key may serve several without confusion.
_PURPOSE = b"minivoice_ref stream token 1\0"


class BadSignature(RemoteProtocolError):
    """A webhook is not proven to be the platform's; `why` is the kind of fault. Answered 401."""

    def __init__(self, why: SignatureFault, message: str) -> None:
        super().__init__(f"signature {why}: {message}", status=401)
        self.why = why


class BadToken(RemoteProtocolError):
    """A stream's token does not let it in; `why` is the kind of fault. Answered 403.

    `subject` is whose it was, where that is proven: an expired token is still one of ours.
    """

    def __init__(self, why: TokenFault, message: str, subject: str | None = None) -> None:
        super().__init__(f"stream token {why}: {message}", status=403, close_code=1008)
        self.why = why
        self.subject = subject


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a good token says: whose stream it is (a call id or an answer's id), and until when."""

    subject: str
    expires_at: float


def sign_webhook(secret: str, timestamp: str, body: bytes) -> str:
    """The value of the signature header for *body* sent with *timestamp*."""
    return f"v1={_signature(secret, timestamp, body)}"


def check_webhook(
    secrets: Sequence[str],
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    *,
    now: float,
    tolerance: float,
) -> None:
    """Return if *body* was signed with one of *secrets*, not further from *now* than *tolerance*.

    Both are in seconds. Several secrets are good at once while they are being changed. Raises
    BadSignature where the platform (or whoever it was) is at fault, LocalProtocolError where no
    usable secret was given.
    """
    _require_keys(secrets)
    for header, value in ((TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signature)):
        if not value:
            raise BadSignature("missing", f"there is no {header}")
    assert timestamp is not None and signature is not None
    signed_at = _read_timestamp(timestamp)
    match = _SIGNATURE.fullmatch(signature)
    if signed_at is None:
        raise BadSignature("malformed", f"{TIMESTAMP_HEADER} is neither Unix time nor RFC 3339")
    if match is None:
        raise BadSignature("malformed", f"{SIGNATURE_HEADER} is not v1= and 64 hexadecimal digits")
    given = match[1].lower()
    matches = [hmac.compare_digest(_signature(key, timestamp, body), given) for key in secrets]
    if not any(matches):
        raise BadSignature("wrong", "another secret, another body or another timestamp was signed")
    if abs(now - signed_at) > tolerance:
        direction = "behind" if signed_at < now else "ahead of"
        off = f"by {abs(now - signed_at):.0f} s {direction} our clock"
        raise BadSignature("stale", f"the timestamp is {off}; {tolerance:g} s are tolerated")


def mint_token(key: str, subject: str, expires_at: float) -> str:
    """A token for *subject*, good until *expires_at* (Unix seconds): one segment of a URL's path.

    Who has the token can read its subject, but not change it. Raises LocalProtocolError for an
    empty key, a subject that is empty or longer than LONGEST_SUBJECT, a time that is none.
    """
    _require_keys([key])
    if not 0 < len(subject) <= LONGEST_SUBJECT:
        raise LocalProtocolError(f"a token's subject has 1 to {LONGEST_SUBJECT} characters")
    if not 0 <= expires_at < _MAGNITUDE:
        raise LocalProtocolError(f"{expires_at} is not a time in Unix seconds")
    # A call id is what a peer said it was: even half a surrogate pair must come back as it went.
    name = _base64(subject.encode("utf-8", "surrogatepass"))
    claim = f"{round(expires_at * 1000)}.{name}"
    return f"{_token_mac(key, claim)}.{claim}"


def read_token(keys: Sequence[str], token: str, *, now: float) -> StreamToken:
    """What *token* says, if any of *keys* made it and it has not expired by *now* (Unix seconds).

    Raises BadToken where the bearer is at fault, LocalProtocolError where no usable key was given.
    """
    _require_keys(keys)
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadToken("malformed", "it is not one of ours")
    mac, claim, expiry, name = match.groups()
    matches = [hmac.compare_digest(_token_mac(key, claim), mac) for key in keys]
    if not any(matches):
        raise BadToken("forged", "it was made with another key, or changed")
    expires_at = int(expiry) / 1000
    padded = name + "=" * (-len(name) % 4)
    subject = base64.urlsafe_b64decode(padded).decode("utf-8", "surrogatepass")
    if now >= expires_at:
        raise BadToken("expired", f"it was good until {now - expires_at:.0f} s ago", subject)
    return StreamToken(subject, expires_at)


def _require_keys(keys: Sequence[str]) -> None:
    """An empty key would let in everybody, and no key nobody: both are a mistake of ours."""
    if not keys or not all(keys):
        raise LocalProtocolError("a signature needs a key, and an empty one is none")


def _signature(secret: str, timestamp: str, body: bytes) -> str:
    signed = timestamp.encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _token_mac(key: str, claim: str) -> str:
    signed = _PURPOSE + claim.encode()
    return _base64(hmac.new(key.encode(), signed, hashlib.sha256).digest())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _read_timestamp(text: str) -> float | None:
    """A webhook's timestamp in Unix seconds; None where it is no time."""
    if not _UNIX.fullmatch(text):
        try:
            return parse_time(text).timestamp()
        except ValueError:
            return None
    seconds = float(text)
    while seconds >= _MAGNITUDE:
        seconds /= 1000
    return seconds
