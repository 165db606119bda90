"""The doctor at the door: names, ports, handshakes, and all that can be wrong with certificates."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from doctor_lab import (
    Authority,
    Names,
    by_name,
    certificate,
    checks_of,
    context_of,
    examination_of,
    failed,
    open_patient,
    open_raw,
)
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import Target
from minivoice_ref.net.streams import ReplayStream
from minivoice_ref.simulator.doctor import DoctorPlan
from minivoice_ref.simulator.doctor_host import check_dns
from minivoice_ref.simulator.doctor_report import Check, Sheet

NAME = "app.example.com"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("doctor_hosts"))


def plan_for(port: int, authority: Authority, **timeouts: float) -> DoctorPlan:
    url = f"https://{NAME}:{port}/answer"
    return DoctorPlan(answer_url=url, ca=authority.file, timeouts=Timeouts(**timeouts))


def outcomes(checks: dict[str, Check], *names: str) -> list[str]:
    return [checks[f"answer_url.{name}"].outcome for name in names]


# --- DNS and TCP ---


async def test_a_name_that_nobody_knows_gets_a_cross(authority: Authority) -> None:
    fault = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    trio.socket.set_custom_hostname_resolver(Names(fault=fault))
    checks = await checks_of(plan_for(443, authority))
    assert failed(checks) == ["answer_url.dns"]
    assert NAME in checks["answer_url.dns"].said and "record" in checks["answer_url.dns"].mend
    assert outcomes(checks, "tcp", "tls", "days_left", "valid") == ["skip"] * 4


@pytest.mark.parametrize("host", ["a..b", ".b", "a" * 64 + ".b"])
async def test_a_name_that_cannot_be_one_gets_a_cross(host: str, authority: Authority) -> None:
    checks = await checks_of(DoctorPlan(answer_url=f"https://{host}/", ca=authority.file))
    assert failed(checks) == ["answer_url.dns"]
    assert "not a name" in checks["answer_url.dns"].said


async def test_name_servers_that_do_not_answer_get_a_cross(authority: Authority) -> None:
    trio.socket.set_custom_hostname_resolver(Names(silent=True))
    checks = await checks_of(plan_for(443, authority, connect=0.1))
    assert failed(checks) == ["answer_url.dns"]
    assert "within 0.1 s" in checks["answer_url.dns"].said


async def test_of_several_addresses_the_private_ones_are_named(authority: Authority) -> None:
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1", "8.8.8.8"))
    sheet, plan = Sheet("answer_url"), plan_for(443, authority)
    assert await check_dns(sheet, Target.of(plan.answer_url, "https"), plan)
    (check,) = sheet.checks
    assert check.said == "127.0.0.1, 8.8.8.8; 127.0.0.1 not reachable from the internet"


@contextmanager
def port_that_drops() -> Iterator[int]:
    """A port whose queue is full: the system drops whoever comes, as a firewall does."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        clients = [socket.socket() for _ in range(4)]
        try:
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for client in clients:
                client.close()


async def test_a_port_that_is_closed_or_dropped_gets_a_cross(authority: Authority) -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    checks = await checks_of(plan_for(1, authority))
    assert failed(checks) == ["answer_url.tcp"]
    assert "nobody listens" in checks["answer_url.tcp"].said
    with port_that_drops() as port:
        checks = await checks_of(plan_for(port, authority, connect=0.3))
    assert failed(checks) == ["answer_url.tcp"]
    assert "within 0.3 s" in checks["answer_url.tcp"].said
    assert "firewall" in checks["answer_url.tcp"].mend


# --- the handshake ---


def alert(number: int) -> bytes:
    """A fatal TLS alert (RFC 8446 section 6)."""
    return bytes([21, 3, 3, 0, 2, 2, number])


@pytest.mark.parametrize(
    ("reply", "said", "mend"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS", "where it does"),
        (alert(70), "no TLS version of today", "1.2"),
        (alert(112), "no certificate for this name", "host name"),
        (alert(40), "refused the handshake", "ciphers"),
        (b"", "left during the TLS handshake", "log"),
        (None, "within 0.5 s", "log"),
    ],
)
async def test_a_handshake_that_fails_is_told_apart(
    reply: bytes | None, said: str, mend: str, authority: Authority
) -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    async with open_raw(reply) as port:
        checks = await checks_of(
            plan_for(port, authority, tls_handshake=5.0 if reply is not None else 0.5)
        )
    assert failed(checks) == ["answer_url.tls"]
    assert said in checks["answer_url.tls"].said and mend in checks["answer_url.tls"].mend
    assert outcomes(checks, "chain", "name", "days_left", "valid") == ["skip"] * 4


async def test_a_server_that_leaves_while_its_certificate_is_looked_at_gets_a_cross(
    authority: Authority,
) -> None:
    """The strict and the lenient handshake are answered, the third one is not."""
    trio.socket.set_custom_hostname_resolver(Names())
    context, seen = context_of(certificate(trustme.CA(), NAME)), 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal seen
        hello = await stream.receive_some()
        seen += bool(hello)
        async with stream:
            if hello and seen <= 2:
                tls = trio.SSLStream(
                    ReplayStream(bytes(hello), stream),
                    context,
                    server_side=True,
                    https_compatible=True,
                )
                with suppress(trio.BrokenResourceError):
                    await tls.do_handshake()
                    await tls.receive_some()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        checks = await checks_of(plan_for(listener.socket.getsockname()[1], authority))
        nursery.cancel_scope.cancel()
    assert failed(checks) == ["answer_url.tls"]
    assert "left during" in checks["answer_url.tls"].said and seen == 3


async def test_a_url_without_tls_gets_a_cross_and_is_examined_all_the_same(
    authority: Authority,
) -> None:
    async with open_patient(None) as patient:
        base = f"http://{patient.address}"
        plan = patient.plan(authority, answer_url=f"{base}/answer", webhook_url=f"{base}/webhooks")
        checks = await checks_of(plan)
    assert failed(checks) == ["answer_url.tls", "stream_url.tls"]
    assert "https only" in checks["answer_url.tls"].mend
    assert outcomes(checks, "chain", "valid", "fast") == ["skip", "pass", "pass"]
    assert "nothing signed is sent" in checks["webhook_url.signed"].said


# --- the certificate ---


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "self-signed.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def without_its_chain(authority: Authority, folder: Path) -> ssl.SSLContext:
    leaf = certificate(authority.ca.create_child_ca(), NAME)
    pem = folder / "leaf.pem"
    pem.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def examine_certificate(context: ssl.SSLContext, authority: Authority) -> dict[str, Check]:
    """Examine the application at app.example.com; what is behind its certificate is healthy."""
    trio.socket.set_custom_hostname_resolver(Names())
    async with open_patient(context, NAME) as patient:
        examination = await examination_of(patient.plan(authority))
    checks = by_name(examination)
    crosses = failed(checks)
    assert outcomes(checks, "dns", "tcp", "tls", "valid", "fast", "again") == ["pass"] * 6
    assert checks["stream_url.upgrade"].outcome == checks["stream_url.wrong_token"].outcome
    assert checks["stream_url.upgrade"].outcome == "pass"
    answer_sheet = examination.sheets[0]
    assert bool(crosses) == ("do not check the certificate" in answer_sheet.note)
    # Nothing is signed for a host whose certificate is not good.
    signed = "skip" if crosses else "pass"
    assert checks["webhook_url.signed"].outcome == checks["clock.stale_timestamp"].outcome == signed
    return checks


async def test_a_good_certificate_has_no_cross(authority: Authority) -> None:
    checks = await examine_certificate(authority.context(NAME), authority)
    assert failed(checks) == []
    chained = context_of(certificate(authority.ca.create_child_ca(), NAME))
    assert failed(await examine_certificate(chained, authority)) == []


async def test_an_expired_certificate_has_one_cross(authority: Authority) -> None:
    expired = authority.context(NAME, begins=-90, ends=-2)
    checks = await examine_certificate(expired, authority)
    assert failed(checks) == ["answer_url.days_left"]
    check = checks["answer_url.days_left"]
    assert "expired 2.0 days ago" in check.said and "renew" in check.mend


async def test_a_certificate_of_tomorrow_has_one_cross(authority: Authority) -> None:
    early = authority.context(NAME, begins=1, ends=90)
    checks = await examine_certificate(early, authority)
    assert failed(checks) == ["answer_url.days_left"]
    assert "not good before" in checks["answer_url.days_left"].said
    assert "clock" in checks["answer_url.days_left"].mend


async def test_a_certificate_for_another_name_has_one_cross_that_names_both(
    authority: Authority,
) -> None:
    wrong = authority.context("other.example.com", "www.example.net")
    checks = await examine_certificate(wrong, authority)
    assert failed(checks) == ["answer_url.name"]
    check = checks["answer_url.name"]
    assert check.said == (
        "the certificate is for other.example.com, www.example.net, not for app.example.com"
    )
    assert NAME in check.mend


async def test_a_certificate_of_an_unknown_authority_has_one_cross(authority: Authority) -> None:
    unknown = context_of(certificate(trustme.CA(), NAME))
    checks = await examine_certificate(unknown, authority)
    assert failed(checks) == ["answer_url.chain"]
    assert "not trusted" in checks["answer_url.chain"].said
    assert "--ca" in checks["answer_url.chain"].mend


async def test_a_certificate_without_its_chain_has_one_cross(
    authority: Authority, tmp_path: Path
) -> None:
    checks = await examine_certificate(without_its_chain(authority, tmp_path), authority)
    assert failed(checks) == ["answer_url.chain"]
    assert "sent without its chain" in checks["answer_url.chain"].said
    assert "fullchain" in checks["answer_url.chain"].mend


async def test_a_self_signed_certificate_has_one_cross(
    authority: Authority, tmp_path: Path
) -> None:
    checks = await examine_certificate(self_signed(tmp_path), authority)
    assert failed(checks) == ["answer_url.chain"]
    assert "self-signed" in checks["answer_url.chain"].said
    assert "public authority" in checks["answer_url.chain"].mend


async def test_a_certificate_with_every_fault_has_them_all(authority: Authority) -> None:
    leaf = certificate(trustme.CA(), "other.example.com", begins=-90, ends=-2)
    checks = await examine_certificate(context_of(leaf), authority)
    assert failed(checks) == ["answer_url.chain", "answer_url.name", "answer_url.days_left"]


async def test_a_certificate_for_another_address_is_found_too(authority: Authority) -> None:
    async with open_patient(authority.context("127.0.0.2")) as patient:
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["answer_url.name"]


@pytest.mark.parametrize(("ends", "crosses"), [(6.5, 1), (7.5, 0)])
async def test_a_certificate_that_soon_ends_has_a_cross(
    ends: float, crosses: int, authority: Authority
) -> None:
    async with open_patient(authority.context(ends=ends)) as patient:
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["answer_url.days_left"] * crosses


async def test_a_short_certificate_needs_a_third_of_its_life(authority: Authority) -> None:
    async with open_patient(authority.context(begins=-2, ends=4)) as patient:
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == []
    async with open_patient(authority.context(begins=-5, ends=1)) as patient:
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["answer_url.days_left"]
    assert "at least 2.0 are wanted" in checks["answer_url.days_left"].said
