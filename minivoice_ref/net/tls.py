"""TLS: contexts, and the server's handshake under a deadline.

Knows nothing of what is said through it. Certificates are checked by every client of ours unless a
caller brings a context that says otherwise. Read next: `http_messages.py`.

Facts: MiniVoice documentation, media streams: `stream_url` must be `wss`; answer_url and webhooks
are HTTPS. `https_compatible=True` is what HTTP and WebSocket peers do: they close without a TLS
goodbye.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import trio

from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.net.tls_stream import TlsStream
from minivoice_ref.protocol.errors import MiniVoiceError, Problem

__all__ = [
    "HandshakeFailed",
    "accept_tls",
    "client_context",
    "describe_tls_error",
    "server_context",
]


_UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # OpenSSL: self-signed, or nobody whom we trust signed it


class HandshakeFailed(MiniVoiceError):
    """The TLS handshake with a peer did not come about; the message says why, for the log."""


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Make the context of a door: TLS 1.2 and up, no renegotiation, our certificate and its chain.

    Raises ConfigError that names the file at fault.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("tls_cert", cert), ("tls_key", key)):
        _check_readable(name, path)
    try:
        # Without a password function OpenSSL would ask the terminal and hang a service for ever.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (OSError, ValueError) as exc:  # also a file that goes while it is read
        why = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(
            [
                Problem(
                    "tls_cert",
                    f"{cert} and tls_key {key} cannot be used together: {why}",
                    "give PEM files: a certificate with its chain, and its key without a password",
                )
            ]
        ) from exc
    return context


def client_context(ca: Path | None = None) -> ssl.SSLContext:
    """Make the context of a client that checks the server's certificate and name.

    Against the system's authorities, and beside them those in the PEM file *ca*. Raises
    ConfigError.
    """
    if ca is not None:
        _check_readable("ca", ca)
    try:
        context = ssl.create_default_context()
        if ca is not None:
            context.load_verify_locations(ca)
    except OSError as exc:
        why = getattr(exc, "reason", None) or exc.strerror
        raise ConfigError(
            [Problem("ca", f"{ca} has no certificate: {why}", "give a PEM file")]
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


async def accept_tls(
    stream: trio.abc.Stream,
    context: ssl.SSLContext,
    timeouts: Timeouts,
    transport: str = "fast",
) -> TlsStream | trio.SSLStream[trio.abc.Stream]:
    """Finish the server's TLS handshake within `timeouts.tls_handshake` seconds.

    Explicitly and in one task: left to the first read it would have no deadline of its own. Raises
    HandshakeFailed, the peer's fault; *stream* is closed by then and no byte of HTTP was read. If
    cancelled, the stream cannot be used any more, only closed.
    """
    tls: TlsStream | trio.SSLStream[trio.abc.Stream]
    if transport == "simple":
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    else:
        tls = TlsStream(stream, context, server_side=True)
    try:
        with trio.fail_after(timeouts.tls_handshake):
            await tls.do_handshake()
    except trio.TooSlowError:
        await trio.aclose_forcefully(stream)
        raise HandshakeFailed(f"no TLS handshake within {timeouts.tls_handshake:g} s") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        await trio.aclose_forcefully(stream)
        raise HandshakeFailed(describe_tls_error(exc)) from exc
    return tls


def describe_tls_error(error: BaseException) -> str:
    """Say in words what a failed handshake was about; *error* is what Trio raised."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        mend = "; name its authority (--ca)" if cause.verify_code in _UNKNOWN_AUTHORITY else ""
        return f"the server's certificate is not trusted: {cause.verify_message}{mend}"
    reason = str(getattr(cause, "reason", None) or "")
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError) or "EOF" in reason:
        return "the peer left during the TLS handshake"
    if reason == "HTTP_REQUEST":
        return "plain HTTP was spoken to a TLS port"
    return f"the TLS handshake failed: {reason.replace('_', ' ').lower() or 'no reason given'}"


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(
            [Problem(name, f"{path} cannot be read: {exc.strerror}", "name a readable PEM file")]
        ) from None
