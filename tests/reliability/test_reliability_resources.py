"""Few files, full logs, new certificates, a blocked event loop; and nothing left behind."""

from __future__ import annotations

import resource
import signal
import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from reliability_lab import FRAME, Receiver, event, running

from minivoice_ref.certificates import make_certificates
from minivoice_ref.net.connect import FetchError


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


async def test_with_few_files_it_refuses_says_so_and_recovers(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with running(tmp_path / "data", preexec=_few_files) as receiver:
            host, port = receiver.urls["base"].removeprefix("http://").split(":")
            there = [socket.create_connection((host, int(port))) for _ in range(100)]
            await receiver.until(lambda: bool(receiver.lines("streams", "limit")))
            assert receiver.open_files() <= 64
            for opened in there:
                opened.close()
            with trio.fail_after(20):
                while True:
                    try:
                        assert await receiver.deliver(event(1)) == 200
                        break
                    except FetchError:  # those who have gone are not yet all noticed
                        await trio.sleep(0.1)
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(5)
                await caller.stop()
                assert await caller.close_code() == 1000
            (few,) = [x for x in receiver.lines("streams", "settings") if x["code"] == "MV-711"]
            assert "may open 64 files, so 24 connections" in few["why"]
            assert receiver.lines("streams", "limit")[0]["limit"] == "connections"


async def test_who_blocks_the_event_loop_is_named(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with running(tmp_path / "data", "block", watchdog=0.2) as receiver:
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(2)
                await receiver.until(
                    lambda: "block_the_loop" in str(receiver.lines("streams", "blocked"))
                )
                await caller.stop()
                await caller.close_code()
            (opened,) = receiver.lines("streams", "open")
            # A busy machine may hold up anybody for as long; the application is named once.
            named = [line for line in receiver.lines("streams", "blocked") if "function" in line]
            (blocked,) = named
            assert (blocked["code"], blocked["function"]) == ("MV-708", "block_the_loop")
            assert "reliability_program.py:" in blocked["before"]
            assert blocked["stream_id"] == opened["stream_id"]
            assert 0.3 <= blocked["seconds"] < 3


async def test_nobody_is_watched_who_did_not_ask_for_it(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with running(tmp_path / "data", "block") as receiver:
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(2)
                await caller.stop()
                await caller.close_code()
            await receiver.until(lambda: bool(receiver.lines("streams", "account")))
            assert not receiver.lines("streams", "blocked")


def serial_of(receiver: Receiver) -> bytes:
    """The certificate that a new connection is shown."""
    host, port = receiver.urls["base"].removeprefix("https://").split(":")
    return ssl.get_server_certificate((host, int(port))).encode()


async def test_a_new_certificate_is_used_without_dropping_a_call(tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "certificates")
    others = make_certificates(tmp_path / "others")
    tls: dict[str, Any] = {"tls_cert": str(files.cert), "tls_key": str(files.key)}
    with trio.fail_after(30):
        async with running(tmp_path / "data", ca=files.ca, **tls) as receiver:
            async with receiver.stream("call_7") as caller:
                await caller.start()
                before = await trio.to_thread.run_sync(serial_of, receiver)
                files.key.write_bytes(others.key.read_bytes())  # half of it: they do not fit
                receiver.process.send_signal(signal.SIGHUP)
                await receiver.until(lambda: bool(receiver.lines("streams", "certificate_failed")))
                assert await trio.to_thread.run_sync(serial_of, receiver) == before
                files.cert.write_bytes(others.cert.read_bytes())
                receiver.process.send_signal(signal.SIGHUP)
                await receiver.until(lambda: bool(receiver.lines("streams", "certificate")))
                after = await trio.to_thread.run_sync(serial_of, receiver)
                assert before != after and after.decode().strip() in others.cert.read_text()
                await caller.speak(5)
                await caller.stop()
                assert await caller.close_code() == 1000
            receiver.process.send_signal(signal.SIGTERM)
            assert await receiver.process.wait() == 0
            (account,) = receiver.lines("streams", "account")
            assert account["tracks"]["inbound"]["received"] == 5 * 160


async def test_logs_begin_anew_when_they_are_full_and_the_oldest_go(tmp_path: Path) -> None:
    limits = {"log_file": 4000, "log_files": 2}
    with trio.fail_after(30):
        async with running(tmp_path / "data", limits=limits) as receiver:
            for number in range(60):
                assert await receiver.deliver(event(number)) == 200
            receiver.process.send_signal(signal.SIGTERM)
            assert await receiver.process.wait() == 0
    files = sorted(path.name for path in receiver.data.glob("webhooks.jsonl*"))
    assert files[-2:] == ["webhooks.jsonl.1", "webhooks.jsonl.2"] and len(files) <= 3
    for name in files:
        text = (receiver.data / name).read_text()
        assert text.endswith("\n") and len(text) < 30000


STREAMS = 1000


async def end_one(receiver: Receiver, number: int, url: str) -> None:
    """One stream, which ends in one of the ways in which streams end."""
    how = number % 8
    async with AsyncExitStack() as stack:
        caller = await stack.enter_async_context(receiver.stream(f"call_{number}", url))
        if how == 0:  # opened, and abandoned without a word
            return await caller.socket.abort()
        await caller.start()
        await caller.speak(2)
        if how == 1:
            await caller.socket.abort()
        elif how == 2:
            await caller.socket.close(1000)
        elif how == 3:
            await receiver.deliver(event(number))
        elif how == 4:
            await caller.socket.send("x" * 70000)
        elif how == 5:
            await caller.socket.send(FRAME)
            await caller.socket.close(1011, "failed")
        elif how == 6:
            return  # leaves by 1000, with nothing said
        else:
            await caller.stop()
        await caller.close_code()


async def test_a_thousand_streams_of_every_ending_leave_nothing_behind(tmp_path: Path) -> None:
    """Descriptors and threads by the system's count; memory grows by the records of the calls."""
    timeouts = {"linger": 0.05}
    with trio.fail_after(120):
        async with running(tmp_path / "data", record=True, timeouts=timeouts) as receiver:

            async def some(first: int, step: int) -> None:
                await trio.lowlevel.checkpoint()
                for number in range(first, STREAMS, step):
                    await end_one(receiver, number, await receiver.stream_url(f"call_{number}"))

            await end_one(receiver, 7, await receiver.stream_url("call_warm"))
            await receiver.until(lambda: len(receiver.lines("streams", "account")) == 1)
            files = receiver.open_files()
            async with trio.open_nursery() as nursery:
                for first in range(8):
                    nursery.start_soon(some, first, 8)
            await receiver.until(
                lambda: len(receiver.lines("streams", "account")) == STREAMS + 1, 60
            )
            await receiver.until(lambda: receiver.open_files() <= files, 30)
            assert (await receiver.health())[1]["streams"] == 0
            assert receiver.threads() < 20  # of the disk's limiters, which end when idle
            receiver.process.send_signal(signal.SIGTERM)
            assert await receiver.process.wait() == 0
    hows = {line["how"] for line in receiver.lines("streams", "disconnected")}
    assert hows >= {"stopped", "closed", "call_ended", "broken"}
