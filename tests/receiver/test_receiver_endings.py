"""The matrix of endings: how each shows to the platform, when, and that nothing is left behind.

Virtual time over memory streams: every duration here is exact.
"""

from __future__ import annotations

import base64
import gc
import json
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
import trio
from receiver_lab import HOST, Caller, Lab, open_lab, patient, settings, settle, sound, webhook

from minivoice_ref.config import Limits
from minivoice_ref.net.websocket import SocketClosed
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.capture import Capture
from minivoice_ref.receiver.intake import Intake
from minivoice_ref.receiver.media_stream import Frame, HandOver, MediaStream
from minivoice_ref.receiver.recording import Recording
from minivoice_ref.receiver.stream import _Supervisor

OF_A_STREAM = {Capture, HandOver, Intake, MediaStream, Recording, _Supervisor}


class Listener:
    """An application that keeps what it hears."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.streams: list[MediaStream] = []
        self.heard_all_at: float | None = None

    async def on_stream(self, stream: MediaStream) -> None:
        self.streams.append(stream)
        async for frame in stream:
            self.frames.append(frame)
        self.heard_all_at = trio.current_time()

    @property
    def app(self) -> App:
        return App(on_stream=self.on_stream)


async def last_account(lab: Lab) -> dict[str, Any]:
    """The closing line of the only stream, which must be its last line."""
    lines = await lab.lines("streams")
    assert lines[-1]["what"] == "account"
    return lines[-1]


async def disconnected(lab: Lab) -> tuple[str, int, str]:
    """How the log says that the only stream ended."""
    (line,) = await lab.lines("streams", "disconnected")
    return line["how"], line["close_code"], line["by"]


@pytest.mark.documents("stream-ends", "receiver-lets-go")
async def test_a_stop_closes_with_1000_at_once(tmp_path: Path, autojump_clock: object) -> None:
    listener = Listener()
    async with open_lab(listener.app, settings(tmp_path)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(50, "inbound", "outbound")
            began = trio.current_time()
            await caller.stop()
            assert await caller.close_code() == 1000
            assert trio.current_time() == began
        assert await settle() == before
        assert await disconnected(lab) == ("stopped", 1000, "platform")
        account = await last_account(lab)
        assert account["tracks"]["inbound"]["received"] == 8000
        assert account["tracks"]["outbound"] == account["tracks"]["inbound"]
    assert len(listener.frames) == 100
    inbound = [frame for frame in listener.frames if frame.track == "inbound"]
    assert b"".join(frame.payload for frame in inbound) == sound(0, 8000)
    assert [frame.position for frame in inbound] == list(range(0, 8000, 160))
    assert listener.streams[0].call_id == "call_1"


async def test_when_the_platform_closes_its_code_comes_back(
    tmp_path: Path, autojump_clock: object
) -> None:
    listener = Listener()
    async with open_lab(listener.app, settings(tmp_path)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(1)
            began = trio.current_time()
            await caller.socket.close(1000, "done")
            assert caller.socket.close_code == 1000
            assert trio.current_time() == began
        assert await settle() == before
        assert await disconnected(lab) == ("closed", 1000, "platform")
        (line,) = await lab.lines("streams", "disconnected")
        assert line["reason"] == "done"
    assert len(listener.frames) == 1


async def test_a_connection_that_breaks_ends_the_stream_at_once(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(1)
            began = trio.current_time()
            await caller.socket.abort()
            assert await settle() <= before + 1
            assert trio.current_time() == began
        assert await settle() == before
        assert await disconnected(lab) == ("closed", 1006, "platform")


class VanishingStream(trio.abc.Stream):
    """A byte stream whose peer is gone from a moment on: nothing comes, nothing arrives."""

    def __init__(self, stream: trio.abc.Stream, gone: trio.Event) -> None:
        self._stream = stream
        self._gone = gone

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self._gone.is_set():
            await trio.sleep_forever()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._gone.is_set():
            await trio.lowlevel.checkpoint()
        else:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class DeafStream(VanishingStream):
    """A byte stream whose peer speaks on from that moment on, and hears nothing."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)


@pytest.mark.documents("receiver-lets-go")
async def test_a_platform_that_vanishes_without_a_word_is_found_out_by_a_ping(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, timeouts=patient(ping_every=20, pong=10, close=2))
    gone = trio.Event()
    async with open_lab(Listener().app, config) as lab:
        before = await settle()

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            return VanishingStream(await lab.network.connect(host, port, tls), gone)

        async with lab.stream(connect=connect) as caller:
            await caller.start()
            await caller.speak(1)
            gone.set()
            await trio.sleep(31.99)
            assert await settle() > before
            await trio.sleep(0.02)
            (account,) = await lab.lines("streams", "account")
            # 20 to the ping, 10 for its pong, 2 for the goodbye that nobody hears.
            assert account["seconds"] == 32.0
            assert await disconnected(lab) == ("no_pong", 1008, "us")
            await caller.socket.abort()
        assert await settle() == before


async def test_a_platform_that_answers_no_ping_and_speaks_all_the_same_is_not_dead(
    tmp_path: Path, autojump_clock: object
) -> None:
    """It does not read what we send, or a pong waits behind audio: either is no reason to end."""
    config = settings(tmp_path, timeouts=patient(ping_every=2, pong=1))
    deaf = trio.Event()
    async with open_lab(Listener().app, config) as lab:

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            return DeafStream(await lab.network.connect(host, port, tls), deaf)

        async with lab.stream(connect=connect) as caller:
            await caller.start()
            deaf.set()
            await caller.speak(500)  # 10 s
            await caller.stop()
            await trio.sleep(5)
            assert await disconnected(lab) == ("stopped", 1000, "platform")
            await caller.socket.abort()


async def test_silence_on_a_started_stream_closes_it_with_1008(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, timeouts=patient(silence=30))
    async with open_lab(Listener().app, config) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(100)
            last = trio.current_time() - 0.02
            assert await caller.close_code() == 1008
            assert trio.current_time() - last == pytest.approx(30.0)
            assert caller.socket.close_reason == "no message for 30 s"
        assert await settle() == before
        assert await disconnected(lab) == ("silent", 1008, "us")


async def test_a_stream_that_never_says_anything_closes_with_1008(
    tmp_path: Path, autojump_clock: object
) -> None:
    listener = Listener()
    config = settings(tmp_path, timeouts=patient(first_message=10))
    async with open_lab(listener.app, config) as lab:
        before = await settle()
        async with lab.stream() as caller:
            began = trio.current_time()
            assert await caller.close_code() == 1008
            assert trio.current_time() - began == 10.0
        assert await settle() == before
        assert await disconnected(lab) == ("no_message", 1008, "us")
        assert (await last_account(lab))["tracks"] == {}
    assert not listener.streams  # it never started, so the application never saw it


async def test_the_longest_stream_is_as_long_as_the_setting(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, timeouts=patient(longest_stream=3))
    async with open_lab(Listener().app, config) as lab:
        before = await settle()
        async with lab.stream() as caller, trio.open_nursery() as nursery:
            began = trio.current_time()
            await caller.start()
            nursery.start_soon(speak_until_closed, caller)
            assert await caller.close_code() == 1008
            assert trio.current_time() - began == 3.0
        assert await settle() == before
        assert await disconnected(lab) == ("too_long", 1008, "us")


async def speak_until_closed(caller: Caller) -> None:
    """Speak until the stream is over."""
    await trio.lowlevel.checkpoint()
    try:
        await caller.speak(100_000)
    except SocketClosed:
        pass


@pytest.mark.parametrize("event", ["call.completed", "call.failed"])
@pytest.mark.documents("receiver-lets-go")
async def test_the_end_of_the_call_closes_its_streams_with_1000_after_the_linger(
    event: str, tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, timeouts=patient(linger=2))
    async with open_lab(Listener().app, config) as lab:
        before = await settle()
        async with lab.stream("call_1") as caller, lab.stream("call_2") as other:
            await caller.start()
            await other.start()
            began = trio.current_time()
            assert (await lab.deliver(webhook(event, "call_1"))).status == 200
            assert await caller.close_code() == 1000
            assert trio.current_time() - began == 2.0
            assert other.socket.close_code is None
        assert await settle() == before
        ended, _ = await lab.lines("streams", "disconnected")
        assert (ended["how"], ended["call_id"]) == ("call_ended", "call_1")


async def test_a_stream_of_a_call_that_has_ended_already_gets_no_more_than_the_linger(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        await lab.deliver(webhook("call.completed", "call_1"))
        before = await settle()
        async with lab.stream("call_1") as caller:
            began = trio.current_time()
            await caller.start()
            assert await caller.close_code() == 1000
            assert trio.current_time() - began == 2.0
        assert await settle() == before


async def test_a_call_id_of_the_start_message_is_good_where_the_token_has_none(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        response = await lab.request("GET", "/answer")
        url = response.body.decode().partition("wss://")[2].partition('"')[0]
        async with lab.stream("call_7", f"wss://{url}") as caller:
            await caller.start()
            await settle()
            await lab.deliver(webhook("call.completed", "call_7"))
            assert await caller.close_code() == 1000
        (started,) = await lab.lines("streams", "started")
        (answered,) = await lab.lines("answers", "answered")
        (opened,) = await lab.lines("streams", "open")
        assert started["call_id"] == "call_7"
        assert opened["answer_id"] == answered["answer_id"]


async def test_the_token_wins_over_the_start_message(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        async with lab.stream("call_1") as caller:
            caller.call_id = "call_of_somebody_else"
            await caller.start()
            await settle()
            await lab.deliver(webhook("call.completed", "call_of_somebody_else"))
            await trio.sleep(10)
            assert caller.socket.close_code is None
            await lab.deliver(webhook("call.completed", "call_1"))
            assert await caller.close_code() == 1000
        (line,) = await lab.lines("streams", "call_ids_differ")
        assert (line["call_id"], line["named"]) == ("call_1", "call_of_somebody_else")


async def test_draining_lets_a_stream_end_by_itself(tmp_path: Path, autojump_clock: object) -> None:
    config = settings(tmp_path, timeouts=patient(grace=30))
    before = await settle()
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            lab.server.stop()
            await caller.speak(100)
            await caller.stop()
            assert await caller.close_code() == 1000
        began = trio.current_time()
    assert trio.current_time() - began < 0.1
    assert await settle() == before
    assert await disconnected(lab) == ("stopped", 1000, "platform")


async def test_draining_cuts_a_stream_with_1001_at_the_end_of_the_grace(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, timeouts=patient(grace=30))
    before = await settle()
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(10)
            began = trio.current_time()
            lab.server.stop()
            assert await caller.close_code() == 1001
            assert trio.current_time() - began == 30.0
    assert trio.current_time() - began == 30.0
    assert await settle() == before
    assert await disconnected(lab) == ("draining", 1001, "us")
    assert (await last_account(lab))["tracks"]["inbound"]["received"] == 1600
    assert len(list((config.data / "recordings").glob("*.json"))) == 1


async def test_a_second_signal_cuts_a_stream_with_1001_at_once_and_files_are_whole(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, timeouts=patient())
    before = await settle()
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(10)
            lab.server.stop()
            await trio.sleep(1)
            began = trio.current_time()
            lab.serving.cancel()
            assert await caller.close_code() == 1001
            assert trio.current_time() == began
    assert trio.current_time() == began
    assert await settle() == before
    assert await disconnected(lab) == ("draining", 1001, "us")
    recording = Path((await last_account(lab))["recording"])
    assert recording.stat().st_size == 44 + 1600 * 4
    assert recording.with_suffix(".json").exists()


async def test_a_function_of_the_application_that_is_no_async_def_is_named(
    tmp_path: Path, autojump_clock: object
) -> None:
    def wrong(given: object) -> None:
        """As a beginner may write it."""

    heard = "returned NoneType, not an awaitable: write `async def"
    config = settings(tmp_path, event_attempts=1)
    async with open_lab(App(on_answer=wrong), config) as lab:  # type: ignore[arg-type]
        assert (await lab.request("GET", "/answer")).status == 500
        (line,) = await lab.lines("answers")
        assert line["error"] == f"TypeError: on_answer {heard} on_answer`"
    app = App(on_stream=wrong, on_event=wrong)  # type: ignore[arg-type]
    async with open_lab(app, config) as lab:
        async with lab.stream("call_1") as caller:
            await caller.start()
            assert await caller.close_code() == 1011
        (line,) = await lab.lines("streams", "application_failed")
        assert line["error"] == f"TypeError: on_stream {heard} on_stream`"
        assert (await lab.deliver(webhook())).status == 200
        await settle()
        (line,) = await lab.lines("webhooks", "set_aside")
        assert line["error"] == f"TypeError: on_event {heard} on_event`"


@pytest.mark.documents("kept-apart")
async def test_on_stream_raising_closes_with_1011_and_nobody_else_notices(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def on_stream(stream: MediaStream) -> None:
        async for frame in stream:
            if stream.call_id == "call_1" and frame.position >= 800:
                raise ValueError("the application's own fault")

    async with open_lab(App(on_stream=on_stream), settings(tmp_path)) as lab:
        before = await settle()
        async with lab.stream("call_2") as other:
            await other.start()
            async with lab.stream("call_1") as caller:
                await caller.start()
                await caller.speak(5)
                began = trio.current_time()
                await caller.frame(5)
                assert await caller.close_code() == 1011
                assert trio.current_time() == began
                assert caller.socket.close_reason == "internal error"
            await other.speak(1)
            await other.stop()
            assert await other.close_code() == 1000
        assert await settle() == before
        (failed,) = await lab.lines("streams", "application_failed")
        assert "the application's own fault" in failed["traceback"]
        assert failed["error"] == "ValueError: the application's own fault"
        assert [line for line in await lab.lines("streams") if line["level"] == "error"] == [failed]
        first, _ = await lab.lines("streams", "disconnected")
        assert (first["how"], first["close_code"], first["by"]) == (
            "on_stream_raised",
            1011,
            "application",
        )


async def test_on_stream_returning_early_does_not_end_the_receiving(
    tmp_path: Path, autojump_clock: object
) -> None:
    heard = []

    async def on_stream(stream: MediaStream) -> None:
        heard.append(await anext(stream))

    async with open_lab(App(on_stream=on_stream), settings(tmp_path, record=True)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(500)
            await caller.stop()
            assert await caller.close_code() == 1000
        assert await settle() == before
        assert len(await lab.lines("streams", "application_returned")) == 1
        account = await last_account(lab)
        assert account["tracks"]["inbound"]["received"] == 80000
        assert account["dropped"] == {}  # nobody wanted it, so nothing was dropped
    assert len(heard) == 1


@pytest.mark.documents("receiver-is-quick")
async def test_a_lagging_application_loses_the_oldest_audio_and_holds_nobody_up(
    tmp_path: Path, autojump_clock: object
) -> None:
    frames: list[Frame] = []
    wake_up = trio.Event()

    async def on_stream(stream: MediaStream) -> None:
        await wake_up.wait()
        async for frame in stream:
            frames.append(frame)

    config = settings(tmp_path, limits=Limits(hand_over=2), timeouts=patient())
    async with open_lab(App(on_stream=on_stream), config) as lab:
        before = await settle()
        async with lab.stream() as caller:
            began = trio.current_time()
            await caller.start()
            await caller.speak(500, "inbound", "outbound")
            assert trio.current_time() - began == pytest.approx(10.0)
            assert await caller.socket.ping() == 0.0
            assert len(await lab.lines("streams", "lagging")) == 1
            wake_up.set()
            await settle()
            assert len(await lab.lines("streams", "caught_up")) == 1
            await caller.stop()
            assert await caller.close_code() == 1000
        assert await settle() == before
        account = await last_account(lab)
    assert account["dropped"] == {"inbound": 400 * 160, "outbound": 400 * 160}
    assert account["tracks"]["inbound"]["received"] == 500 * 160
    assert [frame.position for frame in frames if frame.track == "inbound"] == [
        number * 160 for number in range(400, 500)
    ]


async def test_the_application_gets_the_rest_and_then_has_so_long_to_finish(
    tmp_path: Path, autojump_clock: object
) -> None:
    taken = []

    async def on_stream(stream: MediaStream) -> None:
        await trio.sleep(1)
        async for frame in stream:
            taken.append(frame)
        await trio.sleep(60)

    config = settings(tmp_path, timeouts=patient(finish=5))
    async with open_lab(App(on_stream=on_stream), config) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(10)
            began = trio.current_time()
            await caller.stop()
            assert await caller.close_code() == 1000
            assert trio.current_time() == began  # the platform does not wait for the application
        await trio.sleep(5.01)
        assert await settle() == before
        assert len(await lab.lines("streams", "application_cut")) == 1
    assert len(taken) == 10


async def test_the_application_can_close_a_stream(tmp_path: Path, autojump_clock: object) -> None:
    async def on_stream(stream: MediaStream) -> None:
        await anext(stream)
        stream.close()
        stream.abort()  # too late: the first ending counts

    async with open_lab(App(on_stream=on_stream), settings(tmp_path)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(1)
            assert await caller.close_code() == 1000
        assert await settle() == before
        assert await disconnected(lab) == ("on_stream_closed", 1000, "application")
        assert not await lab.lines("streams", "application_returned")


async def test_the_application_can_break_the_connection_without_a_goodbye(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def on_stream(stream: MediaStream) -> None:
        await anext(stream)
        stream.abort()

    async with open_lab(App(on_stream=on_stream), settings(tmp_path)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(1)
            assert await caller.close_code() == 1006
        assert await settle() == before
        assert await disconnected(lab) == ("aborted", 1006, "application")


async def test_a_message_over_the_limit_closes_with_1009(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, limits=Limits(message=2000))
    async with open_lab(Listener().app, config) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.socket.send("x" * 2001)
            assert await caller.close_code() == 1009
        assert await settle() == before
        assert await disconnected(lab) == ("broken", 1009, "platform")


async def test_a_start_that_contradicts_the_first_closes_with_1002(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start()
            again = Caller(caller.socket, "another_call")
            await again.start()
            assert await caller.close_code() == 1002
            assert caller.socket.close_reason == "protocol error"
        (line,) = await lab.lines("streams", "disconnected")
        assert "contradicts" in line["why"]


async def test_a_platform_that_closes_while_a_ping_is_out_has_closed_and_not_vanished(
    tmp_path: Path, autojump_clock: object
) -> None:
    gone = trio.Event()
    config = settings(tmp_path, timeouts=patient(ping_every=5, pong=10))
    async with open_lab(Listener().app, config) as lab:
        before = await settle()
        stream = MuteStream(await lab.network.connect(HOST, 80, True), gone)

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return stream

        async with lab.stream(connect=connect) as caller:
            await caller.start()
            gone.set()
            await trio.sleep(7)
            await stream.aclose()
            await settle()
        assert await settle() == before
        assert await disconnected(lab) == ("closed", 1006, "platform")
        assert (await last_account(lab))["seconds"] == 7.0


class MuteStream(VanishingStream):
    """A byte stream that hears nothing from a moment on; what it sends still arrives."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)


async def test_a_start_that_comes_after_audio_says_who_is_calling(
    tmp_path: Path, autojump_clock: object
) -> None:
    listener = Listener()
    config = settings(tmp_path, require_token=False, fallback_format="mulaw/8000/1")
    async with open_lab(listener.app, config) as lab:
        async with lab.stream("call_4", f"ws://{HOST}:80/stream") as caller:
            audio = '{"event": "media", "media": {"track": "inbound", "payload": "/////w=="}}'
            for _ in range(150):
                await caller.socket.send(audio)
            await settle()
            (stream,) = listener.streams
            assert (stream.call_id, stream.started.assumed) == (None, True)
            await caller.start()
            await settle()
            assert (stream.call_id, stream.started.assumed) == ("call_4", False)
            await lab.deliver(webhook(call_id="call_4"))
            assert await caller.close_code() == 1000
        assumed, real = await lab.lines("streams", "started")
        assert (assumed["assumed"], "assumed" in real) == (True, False)


async def test_a_stream_that_never_says_whose_it_is_is_accounted_for_all_the_same(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, require_token=False)
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream("nobody", f"ws://{HOST}:80/stream") as caller:
            await caller.socket.send(bytes(320))
            await caller.socket.close(1000)
        account = await last_account(lab)
    assert "call_id" not in account and account["tracks"]["mixed"]["received"] == 160


async def test_a_stream_that_is_recorded_but_never_starts_leaves_no_file(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, timeouts=patient(first_message=1))
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream() as caller:
            assert await caller.close_code() == 1008
        assert "recording" not in await last_account(lab)
        assert not (config.data / "recordings").exists()


async def test_audio_that_was_held_until_the_format_is_known_is_not_lost_when_the_platform_leaves(
    tmp_path: Path, autojump_clock: object
) -> None:
    listener = Listener()
    async with open_lab(listener.app, settings(tmp_path, record=True)) as lab:
        before = await settle()
        async with lab.stream() as caller:
            for _ in range(3):
                await caller.socket.send(bytes(320))  # a start may still come
            await settle()
            assert not listener.streams
            await caller.socket.close()
        assert await settle() == before
        assert await disconnected(lab) == ("closed", 1000, "platform")
        account = await last_account(lab)
        assert account["tracks"]["mixed"]["received"] == 480
        assert Path(account["recording"]).stat().st_size == 44 + 480 * 4
    assert [frame.samples for frame in listener.frames] == [160, 160, 160]


@pytest.mark.parametrize("frames", [1, 3, 49])
async def test_audio_that_was_held_until_the_format_is_known_is_recorded_when_the_grace_is_over(
    frames: int, tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, capture=True, timeouts=patient(grace=5))
    audio = [bytes([number]) * 320 for number in range(1, frames + 1)]
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream() as caller:
            for piece in audio:
                await caller.socket.send(piece)  # held: a start may still come
            await settle()
            assert not await lab.lines("streams", "started")
            lab.server.stop()
            assert await caller.close_code() == 1001
    account = await last_account(lab)
    assert account["tracks"]["mixed"]["received"] == frames * 160
    (began,) = await lab.lines("streams", "recording")
    assert began["file"] == account["recording"]
    (written,) = (config.data / "recordings").glob("*.wav")
    assert str(written) == account["recording"]
    with wave.open(str(written)) as file:
        both = file.readframes(file.getnframes())
    left = b"".join(both[at : at + 2] for at in range(0, len(both), 4))
    assert left == b"".join(audio)
    beside = json.loads(written.with_suffix(".json").read_text())
    assert (beside["not_recorded"], beside["samples"]) == (0, frames * 160)
    assert beside["tracks"] == account["tracks"]


async def test_audio_that_was_held_for_its_order_is_recorded_though_the_server_ends_hard(
    tmp_path: Path, autojump_clock: object
) -> None:
    def media(sequence: int) -> str:
        payload = base64.b64encode(sound((sequence - 2) * 160)).decode()
        told = {"track": "inbound", "chunk": str(sequence - 1), "payload": payload}
        told["timestamp"] = str((sequence - 2) * 20)
        return json.dumps(
            {"event": "media", "sequence_number": str(sequence), "media": told, "stream_id": "s"}
        )

    start = {
        "event": "start",
        "sequence_number": "1",
        "start": {
            "call_control_id": "call_1",
            "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
        },
        "stream_id": "s",
    }
    config = settings(tmp_path, record=True, dialect="telnyx", timeouts=patient())
    async with open_lab(Listener().app, config) as lab:
        async with lab.stream() as caller:
            await caller.socket.send(json.dumps(start))
            for sequence in (2, 3, 5):  # the fifth waits for the fourth
                await caller.socket.send(media(sequence))
            await settle()
            lab.serving.cancel()
            assert await caller.close_code() == 1001
    account = await last_account(lab)
    assert account["tracks"]["inbound"]["expected"] == 640
    assert Path(account["recording"]).stat().st_size == 44 + 640 * 4


async def test_what_the_platform_says_of_a_stream_at_length_is_shortened(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start(custom={str(number): "x" * 300 for number in range(100)})
            await caller.stop()
            await caller.close_code()
        (started,) = await lab.lines("streams", "started")
    assert sum(len(name) + len(value) for name, value in started["custom"].items()) < 410


async def test_a_fault_of_ours_closes_with_1011_and_the_server_goes_on(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minivoice_ref.receiver.intake import Intake

    def fail(self: Intake, message: str | bytes) -> None:
        raise ZeroDivisionError("a slip of ours")

    async with open_lab(Listener().app, settings(tmp_path)) as lab:
        before = await settle()
        with monkeypatch.context() as patch:
            patch.setattr(Intake, "take", fail)
            async with lab.stream() as caller:
                await caller.start()
                assert await caller.close_code() == 1011
        assert await settle() == before
        assert await disconnected(lab) == ("failed", 1011, "us")
        (line,) = await lab.lines("streams", "connection")
        assert "a slip of ours" in line["traceback"]
        assert line["error"] == "ZeroDivisionError: a slip of ours"
        async with lab.stream() as caller:
            await caller.start()
            await caller.stop()
            assert await caller.close_code() == 1000


IN_AN_EXCEPTION = pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="from Python 3.12 on a frame of contextlib holds the exception that passes through it",
)


@pytest.mark.parametrize(
    "way",
    [
        "stop",
        "cut",
        "call",
        "abort",
        pytest.param("raise", marks=IN_AN_EXCEPTION),
        pytest.param("drain", marks=IN_AN_EXCEPTION),
    ],
)
async def test_the_memory_of_a_stream_is_free_at_its_end_and_not_when_somebody_seeks_cycles(
    way: str, tmp_path: Path, autojump_clock: object
) -> None:
    """A stream over TLS is some 80 KB; a busy receiver had megabytes of them that had ended."""

    async def on_stream(stream: MediaStream) -> None:
        async for _ in stream:
            if way == "raise":
                raise ValueError("the application's own fault")
            if way == "abort":
                stream.abort()

    given = settings(tmp_path, record=True, capture=True)
    gc.collect()
    gc.disable()
    try:
        async with open_lab(App(on_stream=on_stream), given) as lab:
            async with lab.stream() as caller:
                await caller.start()
                await caller.frame(0)
                if way == "stop":
                    await caller.stop()
                elif way == "cut":
                    await caller.socket.abort()
                elif way == "call":
                    await lab.deliver(webhook())
                elif way == "drain":
                    lab.serving.cancel()
                await caller.close_code()
            await settle()
            assert not [kind for kind in map(type, gc.get_objects()) if kind in OF_A_STREAM]
    finally:
        gc.enable()
