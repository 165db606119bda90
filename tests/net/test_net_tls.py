"""TLS: contexts that are good or say which file is not, handshakes that end in time.

TLS over memory streams needs no threads, so that the virtual clock works here too.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.net.connect import ConnectFailed, open_tls
from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.net.streams import peer_name
from minivoice_ref.net.tls import (
    HandshakeFailed,
    accept_tls,
    client_context,
    describe_tls_error,
    server_context,
)
from minivoice_ref.testing import memory_streams
from net_parties import both_ways  # noqa: F401  # each test runs both ways
from net_parties import HOST, PORT, House, open_connected, open_house, read_all
from trio.testing import MockClock


class Files:
    """An authority and a certificate, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        certificate = authority.issue_cert(HOST, "localhost", "127.0.0.1")
        self.ca, self.cert, self.key = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
        authority.cert_pem.write_to_path(self.ca)
        certificate.private_key_pem.write_to_path(self.key)
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(self.cert, append=True)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def tls_house(files: Files) -> AsyncGenerator[House, None]:
    context = server_context(files.cert, files.key)
    async with open_house(tls=context) as house:
        yield house


def test_contexts_speak_tls_1_2_and_up_and_check_certificates(files: Files) -> None:
    server, client = server_context(files.cert, files.key), client_context(files.ca)
    for context in (server, client, client_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert server.options & ssl.OP_NO_RENEGOTIATION
    assert client.check_hostname and client.verify_mode == ssl.CERT_REQUIRED


def test_a_file_that_cannot_be_used_is_named(files: Files, tmp_path: Path) -> None:
    empty, locked = tmp_path / "empty.pem", tmp_path / "locked.pem"
    empty.write_text("")
    locked.write_bytes(
        load_pem_private_key(files.key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
    )
    missing = tmp_path / "missing.pem"
    other = Files(tmp_path)
    for cert, key, named in (
        (missing, files.key, "missing.pem"),
        (files.cert, missing, "missing.pem"),
        (files.cert, tmp_path, str(tmp_path)),
        (empty, files.key, "empty.pem"),
        (files.cert, empty, "empty.pem"),
        (files.cert, locked, "locked.pem"),
        (files.cert, other.key, "key.pem"),
    ):
        with pytest.raises(ConfigError, match="tls_") as wrong:
            server_context(cert, key)
        assert named in str(wrong.value)
        assert wrong.value.problems[0].mend


def test_a_file_that_goes_while_it_is_read_is_named(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever renews a certificate may be at it at this moment."""
    monkeypatch.setattr("minivoice_ref.net.tls._check_readable", lambda name, path: None)
    for cert, key in ((tmp_path / "gone.pem", files.key), (files.cert, tmp_path / "gone.pem")):
        with pytest.raises(ConfigError, match="gone.pem.*No such file"):
            server_context(cert, key)
    with pytest.raises(ConfigError, match="gone.pem.*No such file"):
        client_context(tmp_path / "gone.pem")


def test_an_authority_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for ca in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=ca.name):
            client_context(ca)


async def _speak(files: Files, house: House, url: str, ca: Path | None = None) -> bytes:
    """Fetch over TLS in memory."""
    context = client_context(ca or files.ca)

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        stream = await house.network.connect(HOST, PORT, False)
        return await open_tls(stream, context, host, house.timeouts)

    response = await fetch(
        "GET", url, connect=connect, limits=house.limits, timeouts=house.timeouts
    )
    return response.body


async def test_a_request_and_a_stream_go_through_tls(
    files: Files, autojump_clock: MockClock
) -> None:
    context = client_context(files.ca)
    settings = {
        "tls": server_context(files.cert, files.key),
        "network": {"client_context": context},
    }
    async with open_house(**settings) as house:
        connect = house.network.connect
        response = await fetch(
            "GET",
            f"https://{HOST}:{PORT}/",
            connect=connect,
            limits=house.limits,
            timeouts=house.timeouts,
        )
        assert response.ok
        async with open_connected(
            f"wss://{HOST}:{PORT}/stream/a",
            connect=connect,
            limits=house.limits,
            timeouts=house.timeouts,
        ) as socket:
            await socket.send("hello")
            assert await socket.receive() == ["hello"]
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.ends == [(1000, True)]
        assert house.site.notes == []
        assert trio.current_time() == 0


ABUSE: dict[str, tuple[bytes, str]] = {
    "plain http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP was spoken to a TLS port"),
    "garbage": (b"\xff" * 100, "the TLS handshake failed"),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", "the TLS handshake failed"),
}


@pytest.mark.parametrize(("data", "why"), ABUSE.values(), ids=list(ABUSE))
async def test_who_speaks_no_tls_to_a_tls_port_is_closed_at_once(
    data: bytes, why: str, files: Files, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        await house.ask(data)
        assert trio.current_time() == 0
        await trio.testing.wait_all_tasks_blocked()
        [(kind, fields)] = house.site.notes
        assert kind == "tls_failed"
        assert why in str(fields["why"])
        assert b"/next" in await _speak(files, house, f"https://{HOST}/next")


@pytest.mark.parametrize("sent", [b"", bytes.fromhex("16030102000100")], ids=["silence", "half"])
async def test_a_handshake_has_its_deadline(
    sent: bytes, files: Files, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            if sent:
                await stream.send_all(sent)
            assert await read_all(stream) == b""
        assert trio.current_time() == house.timeouts.tls_handshake
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.kinds == ["tls_failed"]
        assert b"/next" in await _speak(files, house, f"https://{HOST}/next")


def hello(minor: int) -> bytes:
    """A ClientHello of SSL 3.0 (0), TLS 1.0 (1), 1.1 (2) or 1.2 (3): RFC 5246 section 7.4.1.2."""
    suites = bytes.fromhex("c02bc02fc013c014c009c00a002f0035")
    extensions = bytes.fromhex("000a00060004001d0017" "000d00080006040308040401")  # groups, hashes
    body = bytes([3, minor]) + bytes(32) + b"\0" + len(suites).to_bytes(2, "big") + suites
    body += b"\1\0" + len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize("minor", [0, 1, 2])
async def test_who_speaks_an_old_tls_is_refused(
    minor: int, files: Files, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        assert await house.ask(hello(minor)) == b""
        await trio.testing.wait_all_tasks_blocked()
        [(kind, fields)] = house.site.notes
        assert kind == "tls_failed"
        assert str(fields["why"]).endswith(("unsupported protocol", "version too low"))
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(hello(3))
            assert bytes(await stream.receive_some())[:3] == b"\x16\3\3"  # a ServerHello
        assert b"/next" in await _speak(files, house, f"https://{HOST}/next")


async def test_a_peer_that_leaves_during_the_handshake_is_no_crash(
    files: Files, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(bytes.fromhex("16030102000100"))
        await trio.testing.wait_all_tasks_blocked()
        reset = await house.network.connect(HOST, PORT, False)
        await trio.testing.wait_all_tasks_blocked()
        reset.reset()  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.kinds == ["tls_failed"] * 2
        assert all("left during" in str(fields["why"]) for _, fields in house.site.notes)
        await reset.aclose()


async def test_a_client_silent_after_the_handshake_is_closed_in_time(
    files: Files, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        raw = await house.network.connect(HOST, PORT, False)
        async with await open_tls(raw, client_context(files.ca), HOST, house.timeouts) as stream:
            assert peer_name(stream) == f"{HOST}:{PORT}"
            assert await stream.receive_some() == b""
        assert trio.current_time() == house.timeouts.request_head
        assert house.site.kinds == ["silent"]


async def test_draining_ends_a_connection_that_is_still_shaking_hands(
    files: Files, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        raw = await house.network.connect(HOST, PORT, False)
        await trio.testing.wait_all_tasks_blocked()
        house.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        async with await open_tls(raw, client_context(files.ca), HOST, house.timeouts) as stream:
            assert await stream.receive_some() == b""
        assert trio.current_time() == 0


async def test_a_door_with_a_context_that_is_no_servers_fails_alone(
    files: Files, autojump_clock: MockClock
) -> None:
    async with open_house(tls=client_context(files.ca)) as house:
        for _ in range(2):
            assert await house.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.kinds == ["failed", "failed"]


@pytest.mark.parametrize("url", [f"https://{HOST}/", "https://other.example.com/"])
async def test_a_certificate_that_is_not_trusted_ends_the_request(
    url: str, files: Files, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with tls_house(files) as house:
        stranger = Files(tmp_path).ca if HOST in url else files.ca
        with pytest.raises(FetchError, match="certificate is not trusted") as failed:
            await _speak(files, house, url, stranger)
        assert failed.value.step == "tls"
        assert str(failed.value).endswith("; name its authority (--ca)") is (HOST in url)
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.kinds[0] in ("tls_failed", "silent")


async def test_a_server_that_does_not_shake_hands_has_a_deadline(
    files: Files, autojump_clock: MockClock
) -> None:
    ours, theirs = memory_streams()
    with pytest.raises(ConnectFailed, match="no TLS handshake within 5 s"):
        await open_tls(ours, client_context(files.ca), HOST, Timeouts())
    assert (await theirs.receive_some())[:1] == b"\x16"
    assert await read_all(theirs) == b""


async def test_a_server_that_hangs_up_is_named(files: Files, autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    await theirs.aclose()
    with pytest.raises(ConnectFailed, match="left during the TLS handshake"):
        await open_tls(ours, client_context(files.ca), HOST, Timeouts())


async def test_a_cancelled_handshake_closes_the_stream(
    files: Files, autojump_clock: MockClock
) -> None:
    ours, theirs = memory_streams()
    with trio.move_on_after(1):
        await open_tls(ours, client_context(files.ca), HOST, Timeouts())
    await theirs.receive_some()
    assert await theirs.receive_some() == b""


async def test_accepting_says_what_the_peer_did(files: Files, autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    await ours.send_all(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(HandshakeFailed, match="plain HTTP"):
        await accept_tls(theirs, server_context(files.cert, files.key), Timeouts())
    assert await read_all(ours) is not None


def test_every_kind_of_failure_has_words() -> None:
    for cause, words in (
        (None, "left during"),
        (ConnectionResetError(), "left during"),
        (ssl.SSLEOFError(), "left during"),
        (ssl.SSLError(1, "x"), "the TLS handshake failed"),
    ):
        error = trio.BrokenResourceError()
        error.__cause__ = cause
        assert words in describe_tls_error(error), cause
