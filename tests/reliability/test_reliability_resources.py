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
import trio.testing
from reliability_lab import Receiver, Tell, event, running

from minivoice_ref.certificates import make_certificates
from minivoice_ref.net.connect import FetchError
from minivoice_ref.receiver.watchdog import watched_loop


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


async def test_with_few_files_it_refuses_says_so_and_recovers(
    tmp_path: Path, tell_figure: Tell
) -> None:
    with trio.fail_after(180):
        async with running(tmp_path / "data", preexec=_few_files) as receiver:
            host, port = receiver.urls["base"].removeprefix("http://").split(":")
            there = [socket.create_connection((host, int(port))) for _ in range(100)]
            await receiver.until(lambda: bool(receiver.lines("streams", "limit")))
            assert receiver.open_files() <= 64
            for opened in there:
                opened.close()
            with trio.fail_after(60):
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
            assert "may open 64 files, so 22 connections" in few["why"]
            assert receiver.lines("streams", "limit")[0]["limit"] == "connections"
    tell_figure("100 connect, 22 are let in; all is well once they have gone")


async def test_with_few_files_who_is_turned_away_takes_none_from_who_is_in(tmp_path: Path) -> None:
    with trio.fail_after(90):
        async with running(tmp_path / "data", preexec=_few_files, record=True) as receiver:
            host, port = receiver.urls["base"].removeprefix("http://").split(":")
            async with receiver.stream("call_7") as caller:
                await receiver.until(lambda: bool(receiver.lines("streams", "open")))
                there = [socket.create_connection((host, int(port))) for _ in range(100)]
                await receiver.until(lambda: bool(receiver.lines("streams", "limit")))
                await caller.start()  # which makes its recording
                await caller.speak(5)
                await receiver.until(lambda: bool(receiver.lines("streams", "recording")))
                assert receiver.open_files() < 64
                await caller.stop()
                assert await caller.close_code() == 1000
            for opened in there:
                opened.close()
            await receiver.until(lambda: bool(receiver.lines("streams", "account")))
            (account,) = receiver.lines("streams", "account")
            assert account["recording"] and not receiver.lines("streams", "recording_failed")


async def test_who_blocks_the_event_loop_is_named(tmp_path: Path) -> None:
    with trio.fail_after(90):
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


async def test_the_step_in_which_the_watch_begins_blocks_nobody() -> None:
    told: list[dict[str, Any]] = []
    with watched_loop(60.0, told.append):
        await trio.testing.wait_all_tasks_blocked()
    assert not told


async def test_nobody_is_watched_who_did_not_ask_for_it(tmp_path: Path) -> None:
    with trio.fail_after(90):
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
    with trio.fail_after(90):
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
    with trio.fail_after(90):
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


async def test_a_blocked_dns_holds_up_nothing_but_who_asks_it(
    tmp_path: Path, tell_figure: Tell
) -> None:
    """A hundred and fifty lookups wait, each in a thread, of which an application has forty."""
    with trio.fail_after(180):
        async with running(tmp_path / "data", "look_up", record=True) as receiver:
            async with AsyncExitStack() as stack:
                callers = [
                    await stack.enter_async_context(receiver.stream(f"call_{number}"))
                    for number in range(3)
                ]
                for caller in callers:
                    await caller.start()
                await receiver.until(lambda: receiver.threads() > 30)
                began = trio.current_time()
                for number in range(10):
                    assert await receiver.deliver(event(f"other_{number}")) == 200
                for caller in callers:
                    await caller.speak(50)
                await receiver.until(lambda: len(receiver.lines("streams", "recording")) == 3)
                await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 10)
                took = trio.current_time() - began
                assert took < 9 and receiver.threads() > 30
                for caller in callers:
                    await caller.stop()
                    assert await caller.close_code() == 1000
            await receiver.until(lambda: len(receiver.lines("streams", "account")) == 3)
            for account in receiver.lines("streams", "account"):
                assert account["tracks"]["inbound"]["received"] == 50 * 160 and account["recording"]
            await receiver.until(lambda: receiver.threads() < 10)
    tell_figure(f"150 lookups wait; 3 recorded streams and 10 webhooks meanwhile in {took:.1f} s")


async def test_without_memory_for_threads_it_refuses_says_so_and_recovers(tmp_path: Path) -> None:
    with trio.fail_after(180):
        async with running(tmp_path / "data", record=True) as receiver:
            assert await receiver.deliver(event(1)) == 200
            await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 1)
            url = await receiver.stream_url("call_7")
            await receiver.until(lambda: bool(receiver.lines("answers")))
            await receiver.until(lambda: receiver.threads() == 1)
            await receiver.short_of_memory()
            assert await receiver.deliver(event(2)) == 503
            async with receiver.stream("call_7", url) as caller:
                await caller.start()
                await caller.speak(50)
                status, health = await receiver.health()
                assert status == 503 and "webhooks cannot be stored" in health["troubles"]
                assert "the logs cannot be written" in health["troubles"]
                await trio.sleep(1)
                await receiver.short_of_memory()
                await receiver.until(lambda: bool(receiver.lines("streams", "recording_failed")))
                await caller.speak(50, first=50)
                await caller.stop()
                assert await caller.close_code() == 1000
            with trio.fail_after(30):
                while (await receiver.health())[0] != 200:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            assert await receiver.deliver(event(2)) == 200
            await receiver.until(lambda: bool(receiver.lines("streams", "account")))
            (account,) = receiver.lines("streams", "account")
            assert account["tracks"]["inbound"]["received"] == 100 * 160
            (failed,) = receiver.lines("streams", "recording_failed")
            assert failed["code"] == "MV-703" and "can't start new thread" in failed["why"]
            assert not receiver.lines("streams", "lost_lines")
