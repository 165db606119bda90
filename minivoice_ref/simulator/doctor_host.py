"""Is the host of a URL there? DNS, TCP, TLS, and the four questions to its certificate.

Each step is one check. Where one fails, those that need it are left out and say so. A certificate
that is not good does not end the visit: what lies behind it is looked at all the same, through
connections that do not check it, and nothing that proves the customer's secret is sent there.

It must not know what is asked of the host afterwards. Read next: `doctor_checks.py`.

Facts: MiniVoice documentation: answer_url and webhook_url are HTTPS, `stream_url` is wss.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import SOCK_STREAM, gaierror

import trio

from minivoice_ref.net.connect import ConnectFailed, Connector, Target, TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.simulator.doctor_plan import DoctorPlan
from minivoice_ref.simulator.doctor_report import Sheet
from minivoice_ref.simulator.doctor_tls import (
    Certificate,
    TlsView,
    inspect_tls,
    lenient_context,
    tls_reason,
)

__all__ = ["HOST_CHECKS", "Reach", "examine_host"]

_CERTIFICATE_CHECKS = ("chain", "name", "days_left")
HOST_CHECKS = ("dns", "tcp", "tls", *_CERTIFICATE_CHECKS)
"""The checks of a host, in the order in which they are made."""

_UNCHECKED = "all else was asked over connections that do not check the certificate"
_NO_TLS_THERE = (
    "what answers there does not speak TLS; plain HTTP, perhaps",
    "let TLS end at this port, or name the port where it does",
)
_OLD_TLS = ("it offers no TLS version of today", "offer TLS 1.2 or newer")
_HANDSHAKE_FAULTS = {
    "WRONG_VERSION_NUMBER": _NO_TLS_THERE,
    "RECORD_LAYER_FAILURE": _NO_TLS_THERE,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS_THERE,
    "PROTOCOL_VERSION": _OLD_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "UNRECOGNIZED_NAME": (
        "it has no certificate for this name",
        "set the server or the proxy up for this host name",
    ),
    "HANDSHAKE_FAILURE": (
        "it refused the handshake",
        "ask for no certificate of the client's, and offer the usual ciphers",
    ),
}
_PUBLIC = "use a certificate of a public authority; in a laboratory give its authority with --ca"
_CHAIN_MENDS = {
    18: ("self-signed", _PUBLIC),
    19: ("made by an authority that is not trusted", _PUBLIC),
    20: (
        "made by an authority that is not trusted, or sent without its chain",
        f"have the server send the whole chain (fullchain.pem); {_PUBLIC}",
    ),
}
_CHAIN_MENDS[21] = _CHAIN_MENDS[20]
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Reach:
    """How to get to a host; `trusted` is false where its certificate is not good, or missing."""

    connect: Connector
    trusted: bool


async def examine_host(sheet: Sheet, target: Target, plan: DoctorPlan, now: float) -> Reach | None:
    """Make the checks of a host; None where it cannot be reached. *now* is in Unix seconds."""
    if not await check_dns(sheet, target, plan):
        sheet.dash("there is no address to connect to", *HOST_CHECKS[1:])
        return None
    if not await check_tcp(sheet, target, plan):
        sheet.dash("there is no connection", *HOST_CHECKS[2:])
        return None
    if not target.tls:
        scheme = target.url.partition(":")[0].lower()
        mend = f"serve it by TLS: MiniVoice comes by {'wss' if scheme == 'ws' else 'https'} only"
        sheet.cross("MV-803", "tls", f"the URL is {scheme}", mend)
        sheet.dash("there is no certificate", *_CERTIFICATE_CHECKS)
        return Reach(TcpConnector(client_context(plan.ca), plan.timeouts), trusted=False)
    view = await check_tls(sheet, target, plan)
    if view is None:
        sheet.dash("there is no TLS to look into", *_CERTIFICATE_CHECKS)
        return None
    check_chain(sheet, view)
    check_name(sheet, view, target.host)
    check_days_left(sheet, view.certificate, plan.fewest_days, now)
    if not view.trusted:
        sheet.note = _UNCHECKED
    context = client_context(plan.ca) if view.trusted else lenient_context(plan.ca)
    return Reach(TcpConnector(context, plan.timeouts), view.trusted)


async def check_dns(sheet: Sheet, target: Target, plan: DoctorPlan) -> bool:
    """Has the name an address? Says so of addresses that nobody outside can reach."""
    await trio.lowlevel.checkpoint()
    began = trio.current_time()
    try:
        with trio.fail_after(plan.timeouts.connect):
            found = await trio.socket.getaddrinfo(target.host, target.port, type=SOCK_STREAM)
    except (gaierror, UnicodeError) as exc:  # the latter for labels that are empty or too long
        why = exc.strerror if isinstance(exc, gaierror) else "not a name that DNS could have"
        mend = f"make an A or AAAA record for {target.host}, or correct the URL"
        sheet.cross("MV-801", "dns", f"{target.host}: {why}", mend)
        return False
    except trio.TooSlowError:
        mend = "see whether the name servers of the domain answer"
        sheet.cross("MV-801", "dns", f"no address within {plan.timeouts.connect:g} s", mend)
        return False
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    private = [address for address in addresses if not _is_global(address)]
    remark = "; not reachable from the internet" if private == addresses else ""
    if private and not remark:
        remark = f"; {', '.join(private)} not reachable from the internet"
    sheet.tick("dns", ", ".join(addresses) + remark, trio.current_time() - began)
    return True


async def check_tcp(sheet: Sheet, target: Target, plan: DoctorPlan) -> bool:
    """Does somebody listen at the port?"""
    await trio.lowlevel.checkpoint()
    began = trio.current_time()
    connect = TcpConnector(client_context(plan.ca), plan.timeouts)
    try:
        stream = await connect(target.host, target.port, False)
    except ConnectFailed as exc:
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in _leaves(exc))
        mend = "let firewalls and load balancers pass this port from everywhere"
        if refused:
            mend = "start the application, or correct the port"
        said = "refused: nobody listens there" if refused else exc.reason
        sheet.cross("MV-802", "tcp", f"port {target.port}: {said}", mend)
        return False
    sheet.tick("tcp", f"port {target.port} is open", trio.current_time() - began)
    await trio.aclose_forcefully(stream)
    return True


async def check_tls(sheet: Sheet, target: Target, plan: DoctorPlan) -> TlsView | None:
    """Is there TLS, and of which version? Whatever the certificate is worth."""
    await trio.lowlevel.checkpoint()
    began = trio.current_time()
    try:
        view = await inspect_tls(target, plan.ca, plan.timeouts)
    except ConnectFailed as exc:
        reason = tls_reason(exc)
        mend = "see what the server's log says of the handshake; offer TLS 1.2 or newer"
        said = exc.reason
        for key, fault in _HANDSHAKE_FAULTS.items():
            if key in reason:
                said, mend = fault
        sheet.cross("MV-803", "tls", said, mend)
        return None
    sheet.tick("tls", view.version, trio.current_time() - began)
    return view


def check_chain(sheet: Sheet, view: TlsView) -> None:
    """Does the certificate lead to an authority that we trust?"""
    issuer = view.certificate.issuer
    if view.chain_fault is None:
        sheet.tick("chain", f"issued by {issuer}")
        return
    code, words = view.chain_fault
    fault, mend = _CHAIN_MENDS.get(code, (words, "have the certificate and its chain made anew"))
    sheet.cross("MV-804", "chain", f"issued by {issuer}: {fault}", mend)


def check_name(sheet: Sheet, view: TlsView, host: str) -> None:
    """Is the certificate for the host that the URL names?"""
    names = ", ".join(view.certificate.names[:8]) or "no name at all"
    if view.wrong_name:
        mend = f"get a certificate for {host}, or use a name that it has"
        sheet.cross("MV-805", "name", f"the certificate is for {names}, not for {host}", mend)
    else:
        sheet.tick("name", f"the certificate is for {host}")


def check_days_left(sheet: Sheet, certificate: Certificate, fewest: float, now: float) -> None:
    """Is the certificate good today, and for *fewest* days more?"""
    start, end = certificate.not_before.timestamp(), certificate.not_after.timestamp()
    fewest = min(fewest, (end - start) / _DAY / 3)
    left, until = (end - now) / _DAY, _date(certificate.not_after)
    renew = "renew the certificate, and see why that did not happen by itself"
    if now < start:
        mend = "set the clock of the machine that made it, and ours"
        sheet.cross("MV-806", "days_left", f"not good before {_date(certificate.not_before)}", mend)
    elif left <= 0:
        sheet.cross("MV-806", "days_left", f"expired {-left:.1f} days ago, on {until}", renew)
    elif left < fewest:
        said = f"{left:.1f} days left, until {until}; at least {fewest:.1f} are wanted"
        sheet.cross("MV-806", "days_left", said, renew)
    else:
        sheet.tick("days_left", f"{left:.0f} days left, until {until}")


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _is_global(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_global


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    """An error's causes, all members of groups among them."""
    while error is not None:
        yield error
        for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from _leaves(member)
        error = error.__cause__
