"""What a server's certificate is worth, asked one question at a time.

A client that checks everything hears of the first fault only, and a certificate with a wrong name
may be out of date as well. So where the strict handshake fails because of the certificate, each
question has a handshake of its own with the other checks off: is there TLS at all, does the chain
lead to an authority that we trust, is the name right, and what does the certificate itself say.
For the last two the certificate is made its own authority; nothing is sent through any of these
connections.

It must not know what the answers mean for anybody: `doctor_host.py` does. Read next: that.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import ConnectFailed, Target, TcpConnector
from minivoice_ref.net.tls import client_context, describe_tls_error

__all__ = ["Certificate", "TlsView", "inspect_tls", "lenient_context", "tls_reason"]

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME; ssl has no name for it
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server's certificate says of itself: who made it, for which names, for how long."""

    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    @classmethod
    def of(cls, document: dict[str, Any]) -> Certificate:
        """Read what `getpeercert()` gave."""
        issuer = dict(pair for part in document.get("issuer", ()) for pair in part)
        organization = issuer.get("organizationName")
        name = issuer.get("commonName") or issuer.get("organizationalUnitName")
        return cls(
            issuer=", ".join(text for text in (organization, name) if text) or "nobody named",
            names=tuple(value for _, value in document.get("subjectAltName", ())),
            not_before=_time(document["notBefore"]),
            not_after=_time(document["notAfter"]),
        )


@dataclass(frozen=True, slots=True)
class TlsView:
    """What the handshakes showed. `chain_fault` is OpenSSL's verify code and its words."""

    version: str
    certificate: Certificate
    chain_fault: tuple[int, str] | None = None
    wrong_name: bool = False
    trusted: bool = True  # by the strict handshake, which checks everything


async def inspect_tls(target: Target, ca: Path | None, timeouts: Timeouts) -> TlsView:
    """Look at the TLS of *target*. Raises ConnectFailed where not even a lenient client gets in.

    One handshake where all is well, else up to five, each within `timeouts.connect` and
    `timeouts.tls_handshake` seconds.
    """
    look = _Looker(target, timeouts)
    try:
        version, document, _ = await look.at(client_context(ca))
        return TlsView(version, Certificate.of(document))
    except ConnectFailed as exc:
        if _verify_fault(exc) is None:
            raise
    version, _, der = await look.at(lenient_context(ca))
    chain = client_context(ca)
    chain.check_hostname = False
    chain.verify_flags |= _NO_CHECK_TIME
    chain_fault = await look.for_fault(chain)
    name_fault = await look.for_fault(_own_authority(der, check_name=True))
    _, document, _ = await look.at(_own_authority(der, check_name=False))
    wrong_name = name_fault is not None and name_fault[0] in _WRONG_NAME
    return TlsView(version, Certificate.of(document), chain_fault, wrong_name, trusted=False)


def lenient_context(ca: Path | None) -> ssl.SSLContext:
    """A client's context that lets every certificate pass: to look further behind a bad one."""
    context = client_context(ca)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_reason(error: BaseException) -> str:
    """OpenSSL's reason for a failed handshake in capitals, such as WRONG_VERSION_NUMBER, or ''."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return str(cause.reason or "").upper().replace(" ", "_")
    return ""


class _Looker:
    """Makes handshakes with one server; each connection is broken off after its handshake."""

    def __init__(self, target: Target, timeouts: Timeouts) -> None:
        self._target = target
        self._timeouts = timeouts

    async def at(self, context: ssl.SSLContext) -> tuple[str, dict[str, Any], bytes]:
        """TLS version, certificate (empty where it was not checked), and the same as DER."""
        host, port = self._target.host, self._target.port
        plain = await TcpConnector(context, self._timeouts)(host, port, False)
        secured: Any = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
        try:
            with trio.fail_after(self._timeouts.tls_handshake):
                await secured.do_handshake()
            return secured.version(), secured.getpeercert(), secured.getpeercert(binary_form=True)
        except trio.TooSlowError:
            late = f"no TLS handshake within {self._timeouts.tls_handshake:g} s"
            raise ConnectFailed("tls", late) from None
        except trio.BrokenResourceError as exc:
            raise ConnectFailed("tls", describe_tls_error(exc)) from exc
        finally:
            await trio.aclose_forcefully(plain)

    async def for_fault(self, context: ssl.SSLContext) -> tuple[int, str] | None:
        """What *context* finds wrong with the certificate. Raises ConnectFailed for all else."""
        try:
            await self.at(context)
        except ConnectFailed as exc:
            fault = _verify_fault(exc)
            if fault is None:
                raise
            await trio.lowlevel.checkpoint()
            return fault
        return None


def _own_authority(der: bytes, *, check_name: bool) -> ssl.SSLContext:
    """A context for which the certificate *der* vouches for itself, at any time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=der)
    context.check_hostname = check_name
    context.verify_flags |= _NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _verify_fault(error: BaseException) -> tuple[int, str] | None:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_code, cause.verify_message
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
