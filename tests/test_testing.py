"""What `minivoice_ref.testing` offers to those who test an application of theirs.

The fixture is tried in a run of pytest of its own, as a user has it; and a receiver that is not
ours, of h11 and trio-websocket, is called in memory by the simulator alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import h11
import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, wrap_server_stream

from minivoice_ref import App, CallEvent, ConfigError, MediaStream
from minivoice_ref.net.streams import ReplayStream
from minivoice_ref.protocol.audio import level
from minivoice_ref.pytest_plugin import memory_rehearsal
from minivoice_ref.rehearsal import Rehearsal
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.testing import MemoryNetwork, open_memory_rehearsal

Clock = trio.testing.MockClock
HOST = "app.example.com"

__all__ = ["memory_rehearsal"]


async def test_calls_are_heard_sample_by_sample_and_time_is_virtual_for_all(
    autojump_clock: Clock,
) -> None:
    loudest, samples = -100.0, 0

    async def on_stream(stream: MediaStream) -> None:
        nonlocal loudest, samples
        async for frame in stream:
            samples += frame.samples
            loudest = max(loudest, level(frame.pcm).rms_dbfs)

    settings = {"webhook_secret": "the-secret-of-this-test", "track": "inbound"}
    async with open_memory_rehearsal(App(on_stream=on_stream), **settings) as rehearsal:
        report = await rehearsal.call(speak=30)
        assert report.passed, str(report)
        await trio.sleep(3600)
        late = await rehearsal.call(speak=0.1)  # signed by a clock that has gone on meanwhile
        assert late.passed, str(late)
    assert samples == sum(r.streams[0].sent["inbound"].samples for r in (report, late))
    assert samples >= 30 * 8000 and loudest > -25
    assert report.call_id < late.call_id


async def test_an_assertion_that_fails_in_the_application_fails_the_test(
    autojump_clock: Clock,
) -> None:
    async def on_stream(stream: MediaStream) -> None:
        async for frame in stream:
            assert frame.position < 8000, "more than a second"

    with pytest.raises(AssertionError, match="more than a second"):
        async with open_memory_rehearsal(App(on_stream=on_stream)) as rehearsal:
            report = await rehearsal.call(speak=2)
    assert not report.passed


async def test_what_fails_in_the_application_and_in_the_test_is_told_together(
    autojump_clock: Clock,
) -> None:
    async def on_stream(stream: MediaStream) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError("theirs")

    with pytest.RaisesGroup(AssertionError, AssertionError) as caught:
        async with open_memory_rehearsal(App(on_stream=on_stream)) as rehearsal:
            report = await rehearsal.call(speak=1)
            assert report.passed, "ours"
    assert [str(exc).splitlines()[0] for exc in caught.value.exceptions] == ["theirs", "ours"]


async def test_what_on_event_takes_at_once_it_has_taken_when_the_block_ends(
    autojump_clock: Clock,
) -> None:
    events = []

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        events.append(event.event)

    async with open_memory_rehearsal(App(on_event=on_event)) as rehearsal:
        await rehearsal.call(speak=0.1)
    assert events == ["call.created", "call.answered", "call.completed"]


async def test_a_plan_or_a_setting_that_cannot_work_is_refused(autojump_clock: Clock) -> None:
    async with open_memory_rehearsal(App()) as rehearsal:
        with pytest.raises(ConfigError, match="speak"):
            await rehearsal.call(speak=0)
    with pytest.raises(ConfigError, match="track"):
        async with open_memory_rehearsal(App(), track="speaker"):
            pass


async def test_the_fixture_keeps_what_the_receiver_keeps(
    memory_rehearsal: Callable[..., AbstractAsyncContextManager[Rehearsal]],  # noqa: F811
    tmp_path: Path,
    autojump_clock: Clock,
) -> None:
    async with memory_rehearsal(App(), record=True) as rehearsal:
        assert (await rehearsal.call(speak=1)).passed
    assert len(list((tmp_path / "data" / "recordings").glob("*.wav"))) == 1


def test_a_project_asks_for_the_fixture_by_one_line_and_it_costs_nobody_else(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["minivoice_ref.pytest_plugin"]\n')
    (tmp_path / "test_mine.py").write_text(textwrap.dedent("""
        from minivoice_ref import App

        async def test_a_call_passes(memory_rehearsal, autojump_clock):
            async with memory_rehearsal(App()) as rehearsal:
                assert (await rehearsal.call(speak=5)).passed
    """))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "trio_mode=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "test_mine.py").write_text(textwrap.dedent("""
        import sys

        def test_nothing_of_ours_is_loaded():
            assert not [name for name in sys.modules if name.startswith("minivoice_ref")]
    """))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


class ForeignReceiver:
    """An application on h11 and trio-websocket alone: one answer, and a count of messages."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.messages: list[str] = []

    async def handle(self, stream: trio.abc.Stream) -> None:
        http = h11.Connection(h11.SERVER)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        if b"upgrade: websocket" in head.lower():
            return await self._listen(ReplayStream(head, stream))
        http.receive_data(head)
        request, body = http.next_event(), b""
        assert isinstance(request, h11.Request)
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Data):
                body += event.data
        await self._reply(stream, http, request.target, json.loads(body))

    async def _reply(
        self, stream: trio.abc.Stream, http: h11.Connection, target: bytes, body: dict[str, object]
    ) -> None:
        content = b""
        if target == b"/answer":
            url = f"wss://{HOST}/stream"
            content = json.dumps({"actions": [{"start_stream": {"stream_url": url}}]}).encode()
        else:
            self.events.append(str(body["event"]))
        length = [("Content-Length", str(len(content))), ("Connection", "close")]
        reply = h11.Response(status_code=200, headers=length)
        parts = (reply, h11.Data(data=content), h11.EndOfMessage())
        await stream.send_all(b"".join(http.send(part) or b"" for part in parts))
        await stream.aclose()

    async def _listen(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            socket = await request.accept()
            try:
                while True:
                    message = await socket.get_message()
                    self.messages.append(json.loads(message)["event"])
            except ConnectionClosed:
                pass


async def test_the_simulator_alone_calls_a_receiver_of_another_make_in_memory(
    autojump_clock: Clock,
) -> None:
    network, receiver = MemoryNetwork(), ForeignReceiver()
    listener = network.listener(HOST, 443)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, receiver.handle, [listener])
        plan = CallPlan(
            answer_url=f"https://{HOST}/answer",
            webhook_url=f"https://{HOST}/webhooks",
            speak=10,
        )
        report = await place_call(plan, connect=network.connect)
        nursery.cancel_scope.cancel()
    assert report.passed, str(report)
    assert receiver.events == ["call.created", "call.answered", "call.completed"]
    assert receiver.messages.count("media") == 2 * 10 * 50
