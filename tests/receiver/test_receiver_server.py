"""The receiver on real sockets, with real TLS, real signals and a real kill."""

from __future__ import annotations

import dataclasses
import json
import signal
import socket
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from receiver_lab import Caller, read_log, webhook

from minivoice_ref.config import Config, ConfigError, Limits, Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http import Response
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.protocol.actions import Answer
from minivoice_ref.receiver.app import AnswerRequest, App
from minivoice_ref.receiver.server import Server, serve, serve_until_signal

PROGRAM = """
import sys, trio
from pathlib import Path
from minivoice_ref.config import Config, Timeouts
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.server import serve_until_signal

handled = Path(sys.argv[1]) / "handled"

async def on_event(event):
    if sys.argv[2] == "hang":
        await trio.sleep_forever()
    with handled.open("a") as file:
        file.write(event.event + "\\n")

async def main():
    config = Config(
        listen="127.0.0.1:0", plain=True, data=Path(sys.argv[1]), timeouts=Timeouts(grace=20)
    )
    await serve_until_signal(
        App(on_event=on_event), config, on_started=lambda server: say(server.urls.base)
    )

def say(line):
    print(line, flush=True)

trio.run(main)
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, cert.pem and key.pem, good for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    return folder


async def request(
    connect: TcpConnector, method: str, url: str, body: bytes | None = None
) -> Response:
    """Make a request with a JSON body."""
    headers = [("Content-Type", "application/json")]
    return await fetch(
        method,
        url,
        headers=headers,
        body=body,
        connect=connect,
        timeouts=Timeouts(),
        limits=Limits(),
    )


@pytest.mark.documents("platform-is-the-client", "answer-url")
async def test_a_whole_call_over_real_sockets_and_real_tls(
    tmp_path: Path, certificates: Path
) -> None:
    config = Config(
        listen="127.0.0.1:0",
        stream_listen="127.0.0.1:0",
        tls_cert=certificates / "cert.pem",
        tls_key=certificates / "key.pem",
        data=tmp_path / "data",
        record=True,
    )
    connect = TcpConnector(client_context(certificates / "ca.pem"), Timeouts())
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve, App(), config)
            assert server.urls.base.startswith("https://127.0.0.1:")
            assert server.urls.stream.startswith("wss://127.0.0.1:")
            answer = await request(connect, "POST", server.urls.answer, b'{"call_id": "call_1"}')
            (action,) = json.loads(answer.body)["actions"]
            assert action["stream_url"].startswith(server.urls.stream + "/")
            async with open_connected(
                action["stream_url"], connect=connect, limits=Limits(), timeouts=Timeouts()
            ) as socket:
                caller = Caller(socket, "call_1")
                await caller.start()
                for number in range(100):
                    await caller.frame(number)
                await caller.stop()
                assert await caller.close_code() == 1000
            assert (await request(connect, "POST", server.urls.webhooks, webhook())).status == 200
            assert (await request(connect, "GET", server.urls.health)).status == 200
            server.stop()
    data = config.data
    (account,) = read_log(data, "streams", "account")
    assert account["tracks"]["inbound"]["received"] == 16000
    assert Path(account["recording"]).stat().st_size == 44 + 16000 * 4
    assert [line["what"] for line in read_log(data, "webhooks")] == ["accepted", "handled"]
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in data.glob("*.*")}
    assert modes == {0o600}


async def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for setting in ("listen", "stream_listen"):
            free = Config(listen="127.0.0.1:0", plain=True, data=tmp_path)
            config = dataclasses.replace(free, **{setting: address})  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match=rf"^{setting}: {address} cannot be opened"):
                await serve(App(), config)


async def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path / "file" / "data")
    with pytest.raises(ConfigError, match="^data: .*file/data cannot be made"):
        await serve(App(), config)
    (tmp_path / "data" / "inbox.sqlite3").mkdir(parents=True)
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path / "data")
    with pytest.raises(ConfigError, match="^data: .*inbox.sqlite3 cannot be used"):
        await serve(App(), config)
    (tmp_path / "data" / "inbox.sqlite3").rmdir()
    (tmp_path / "data" / "inbox.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(ConfigError, match="^data: .*inbox.sqlite3 cannot be used"):
        await serve(App(), config)
    (tmp_path / "file").unlink()
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path, inbox=tmp_path / "no" / "file")
    with pytest.raises(ConfigError, match="^inbox: .*file.lock cannot be used"):
        await serve(App(), config)


async def test_a_name_to_listen_at_that_dns_does_not_answer_about_is_named(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def never(host: str, port: int) -> Any:
        await trio.sleep_forever()

    config = Config(listen="media.example.com:443", plain=True, insecure=True, data=tmp_path)
    with pytest.raises(ConfigError, match="^listen: media.example.com could not be looked up"):
        await serve(App(), config, listen=never)
    assert trio.current_time() == config.timeouts.connect


async def test_a_data_folder_that_others_may_look_into_is_named_at_the_start(
    tmp_path: Path,
) -> None:
    for mode, told in ((0o755, 1), (0o700, 0)):
        data = tmp_path / f"{mode:o}"
        data.mkdir()
        data.chmod(mode)
        async with trio.open_nursery() as nursery:
            config = Config(listen="127.0.0.1:0", plain=True, data=data)
            server: Server = await nursery.start(serve, App(), config)
            server.stop()
        assert (data / "streams.jsonl").read_text().count("MV-710") == told


async def test_a_damaged_database_is_to_be_moved_away_or_restored(tmp_path: Path) -> None:
    (tmp_path / "inbox.sqlite3").write_bytes(b"this is no database" * 100)
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path)
    with pytest.raises(ConfigError, match="cannot be used: .*; move it away or restore it"):
        await serve(App(), config)


async def test_a_data_folder_is_one_receivers_at_a_time(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path)
    for _ in range(2):  # it is free again when the first has ended
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve, App(), config)
            with pytest.raises(ConfigError, match="^data: .* is in use by another receiver; stop"):
                with trio.fail_after(10):
                    await serve(App(), config)
            server.stop()


async def test_an_inbox_is_one_receivers_at_a_time(tmp_path: Path) -> None:
    first, second = (
        Config(listen="127.0.0.1:0", plain=True, data=tmp_path / name, inbox=tmp_path / "events")
        for name in ("one", "two")
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, App(), first)
        with pytest.raises(ConfigError, match="^inbox: .* is in use by another receiver; stop"):
            with trio.fail_after(10):
                await serve(App(), second)
        server.stop()


@pytest.mark.parametrize(
    ("more", "setting", "why"),
    [
        ({}, "plain", "that door speaks no TLS: set public_url"),
        ({"listen": "0.0.0.0:0", "tls": True}, "listen", "from this machine only: set public_url"),
        ({"stream_listen": "[::]:0", "tls": True}, "stream_listen", "set public_url"),
        (
            {"public_url": "https://p.example", "stream_listen": "127.0.0.1:0"},
            "stream_listen",
            "name wss://p.example/stream, the public_url's door: a proxy there must route /stream",
        ),
        ({"public_url": "https://p.example"}, None, None),
        ({"tls": True}, None, None),
    ],
)
async def test_a_setting_that_leads_streams_nowhere_is_named_at_the_start(
    more: dict[str, Any],
    setting: str | None,
    why: str | None,
    tmp_path: Path,
    certificates: Path,
) -> None:
    given: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "plain": True,
        "insecure": True,
        "data": tmp_path,
    } | more
    if given.pop("tls", False):
        pair = {"tls_cert": certificates / "cert.pem", "tls_key": certificates / "key.pem"}
        given |= {"plain": False} | pair
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, App(), Config(**given))
        server.stop()
    said = read_log(tmp_path, "streams", "settings")
    lines = [line for line in said if line["code"] == "MV-207"]
    assert [line["setting"] for line in lines] == ([setting] if setting else [])
    assert all(line["level"] == "warning" and why in line["why"] for line in lines)


async def test_no_log_has_the_token_key_that_we_made_ourselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: "a-key-made-by-ourselves")

    async def on_answer(request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        raise ValueError("oh, a-key-made-by-ourselves")

    connect = TcpConnector(client_context(None), Timeouts())
    async with trio.open_nursery() as nursery:
        config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path)
        server = await nursery.start(serve, App(on_answer=on_answer), config)
        await request(connect, "POST", server.urls.answer)
        server.stop()
    (line,) = read_log(tmp_path, "answers", "failed")
    assert line["error"] == "ValueError: oh, [redacted]"


@pytest.mark.parametrize(
    ("address", "base"), [("0.0.0.0:0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:")]
)
async def test_urls_can_be_connected_to(address: str, base: str, tmp_path: Path) -> None:
    config = Config(listen=address, plain=True, insecure=True, data=tmp_path)
    connect = TcpConnector(client_context(None), Timeouts())
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, App(), config)
        assert server.urls.base.startswith(base)
        assert (await request(connect, "GET", server.urls.health)).status == 200
        server.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does to its files."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)
        await trio.lowlevel.checkpoint()


class Program:
    """A receiver in a process of its own."""

    def __init__(self, process: trio.Process, base: str, data: Path) -> None:
        self.process = process
        self.base = base
        self.data = data
        self.connect = TcpConnector(client_context(None), Timeouts())

    @property
    def handled(self) -> list[str]:
        path = self.data / "handled"
        return path.read_text().split() if path.exists() else []

    async def deliver(self, event: str) -> int:
        body = webhook(event)
        return (await request(self.connect, "POST", f"{self.base}/webhooks", body)).status

    def waiting(self) -> int:
        with sqlite3.connect(self.data / "inbox.sqlite3") as database:
            (count,) = database.execute(
                "SELECT COUNT(*) FROM events WHERE state = 'waiting'"
            ).fetchone()
        database.close()
        return int(count)


@asynccontextmanager
async def running(data: Path, on_event: str = "note") -> AsyncIterator[Program]:
    """Run a receiver in a process; kill it at the end if it is still there."""
    command = [sys.executable, "-c", PROGRAM, str(data), on_event]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, stdout=-1, check=False)
        process: trio.Process = await nursery.start(start, command)
        assert process.stdout is not None
        with trio.fail_after(30):
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
        yield Program(process, line.decode().strip(), data)
        if process.returncode is None:
            process.kill()


async def test_an_event_is_handled_once_though_the_server_was_killed_before_it_was(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "hang") as program:
        assert await program.deliver("call.answered") == 200
        assert await program.deliver("call.completed") == 200
        program.process.send_signal(signal.SIGKILL)
        with trio.fail_after(10):
            await program.process.wait()
        assert (program.waiting(), program.handled) == (2, [])
    async with running(tmp_path) as program:
        assert await program.deliver("call.completed") == 200  # the platform sends it once more
        await until(lambda: not program.waiting())
        assert program.handled == ["call.answered", "call.completed"]
    async with running(tmp_path) as program:
        assert (program.waiting(), len(program.handled)) == (0, 2)


async def test_signals_are_obeyed_in_a_program_of_its_own(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path)
    for signals in (1, 2):
        servers: list[Server] = []
        async with trio.open_nursery() as nursery:
            start = partial(serve_until_signal, App(), config, on_started=servers.append)
            nursery.start_soon(start)
            with trio.fail_after(10):
                await until(lambda servers=servers: bool(servers))  # type: ignore[misc]
                for _ in range(signals):
                    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        with trio.fail_after(10):
            program.process.send_signal(number)
            assert await program.process.wait() == 0


async def test_the_second_signal_insists(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        answer = await request(program.connect, "POST", f"{program.base}/answer")
        (action,) = json.loads(answer.body)["actions"]
        url = action["stream_url"].replace("wss:", "ws:")
        with trio.fail_after(10):  # the grace is 20
            async with open_connected(
                url, connect=program.connect, limits=Limits(), timeouts=Timeouts()
            ) as socket:
                caller = Caller(socket, "call_1")
                await caller.start()
                await until(lambda: bool(read_log(tmp_path, "streams", "started")))
                program.process.send_signal(signal.SIGTERM)
                await caller.frame(0)
                await until(lambda: bool(read_log(tmp_path, "streams", "first_media")))
                assert program.process.returncode is None
                program.process.send_signal(signal.SIGTERM)
                assert await caller.close_code() == 1001
            assert await program.process.wait() == 0
    (account,) = read_log(tmp_path, "streams", "account")
    assert account["tracks"]["inbound"]["received"] == 160
