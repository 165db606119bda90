"""Frames, and the queue between the receiving task and the application."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from receiver_lab import FRAME, MULAW, open_lab, patient, settings, settle, sound

from minivoice_ref.protocol.audio import decode_mulaw
from minivoice_ref.protocol.media import Digit, Mark, MediaFormat, Unknown
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.media_stream import Frame, HandOver, MediaStream, StreamItem


def frame(number: int, samples: int = FRAME) -> Frame:
    return Frame("inbound", number * FRAME, sound(number * FRAME, samples), MULAW)


def other(number: int) -> Frame:
    return Frame("outbound", number * FRAME, sound(number * FRAME), MULAW)


async def take_all(queue: HandOver) -> list[StreamItem]:
    """Everything that waits in a queue that is finished."""
    items = []
    with pytest.raises(StopAsyncIteration):
        while True:
            items.append(await queue.next_item())
    return items


def test_a_frame_knows_its_samples_its_seconds_and_its_sound() -> None:
    piece = frame(3)
    assert (piece.samples, piece.seconds) == (160, 0.02)
    assert piece.pcm == decode_mulaw(sound(480))
    assert piece.pcm is piece.pcm  # decoded once
    assert Frame("inbound", 0, b"\x01\x02\x03", MediaFormat("l16le", 16000)).samples == 1
    assert "payload" not in repr(piece)


async def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    queue = HandOver(5.0, print)
    items: list[StreamItem] = [frame(0), other(0), Digit("1"), other(1), frame(1), Mark("m")]
    for item in items:
        queue.put(item)
    assert queue.waiting() == {"inbound": 320, "outbound": 320}
    queue.finish()
    assert await take_all(queue) == items
    assert queue.waiting() == {"inbound": 0, "outbound": 0}


async def test_who_finds_much_takes_some_at_a_stretch_and_then_gives_the_others_a_turn() -> None:
    queue, turns = HandOver(100.0, print), 0
    for number in range(640):
        queue.put(frame(number))

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(640):
            await queue.next_item()
        nursery.cancel_scope.cancel()
    assert 5 <= turns <= 20


async def test_a_full_track_loses_its_own_oldest_frames_only() -> None:
    lags: list[bool] = []
    queue = HandOver(0.1, lags.append)  # five frames of 20 ms
    queue.put(other(0))
    for number in range(5):
        queue.put(frame(number))
    assert (queue.dropped, lags) == ({}, [])
    queue.put(frame(5))
    queue.put(frame(6))
    assert (queue.dropped, lags) == ({"inbound": 320}, [True])
    queue.finish()
    assert await take_all(queue) == [other(0), *(frame(number) for number in range(2, 7))]
    assert lags == [True, False]


async def test_one_frame_longer_than_the_limit_is_kept() -> None:
    queue = HandOver(0.1, lambda lagging: None)
    queue.put(frame(0))
    queue.put(frame(1, samples=4000))
    assert await queue.next_item() == frame(1, samples=4000)
    assert queue.dropped == {"inbound": 160}


async def test_frames_are_bounded_in_number_however_short_they_are() -> None:
    lags: list[bool] = []
    queue = HandOver(5.0, lags.append)
    queue.put(Mark("first"))
    queue.put(other(0))
    for number in range(4100):
        queue.put(frame(number, samples=1))
    assert (queue.dropped, lags) == ({"outbound": 160, "inbound": 5}, [True])
    assert queue.waiting() == {"outbound": 0, "inbound": 4095}
    queue.finish()
    assert len(await take_all(queue)) == 4096


async def test_other_items_are_bounded_too() -> None:
    queue = HandOver(5.0, print)
    for number in range(100):
        queue.put(Mark(str(number)))
    queue.finish()
    assert await take_all(queue) == [Mark(str(number)) for number in range(36, 100)]
    assert queue.dropped_others == 36


async def test_whoever_waits_is_woken_by_an_item_and_by_the_end(autojump_clock: object) -> None:
    queue = HandOver(5.0, print)
    got: list[StreamItem] = []

    async def take() -> None:
        got.extend(await take_all(queue))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(take)
        await settle()
        queue.put(frame(0))
        queue.put(frame(1))
        await settle()
        queue.finish()
    assert sorted(item.position for item in got if isinstance(item, Frame)) == [0, 160]


async def test_a_cancelled_taker_takes_nothing() -> None:
    queue = HandOver(5.0, print)
    queue.put(frame(0))
    with trio.CancelScope() as scope:
        scope.cancel()
        await queue.next_item()
    assert await queue.next_item() == frame(0)


async def test_what_nobody_wants_any_more_is_let_go_uncounted() -> None:
    lags: list[bool] = []
    queue = HandOver(0.02, lags.append)
    queue.put(frame(0))
    queue.put(frame(1))
    queue.discard()
    queue.put(frame(2))
    queue.finish()
    assert await take_all(queue) == []
    assert queue.dropped == {"inbound": 160}
    assert lags == [True]


async def test_the_events_of_a_stream_are_all_that_came_between_the_audio(
    tmp_path: Path, autojump_clock: object
) -> None:
    items: list[StreamItem] = []

    async def on_stream(stream: MediaStream) -> None:
        async for item in stream.events():
            items.append(item)

    async with open_lab(App(on_stream=on_stream), settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.frame(0)
            await caller.digit("7")
            await caller.socket.send('{"event": "surprise"}')
            await caller.frame(1)
            await caller.stop()
            await caller.close_code()
        (digit,) = await lab.lines("streams", "event")
        (unknown,) = await lab.lines("streams", "unknown")
    kinds = [type(item) for item in items]
    assert kinds == [Frame, Digit, Unknown, Frame]
    assert (digit["kind"], digit["value"]) == ("digit", "7")
    assert "surprise" in unknown["text"]


async def test_what_is_no_audio_is_passed_over_by_a_plain_iteration(
    tmp_path: Path, autojump_clock: object
) -> None:
    numbers: list[int] = []
    seen: list[MediaStream] = []

    async def on_stream(stream: MediaStream) -> None:
        seen.append(stream)
        async for piece in stream:
            numbers.append(piece.position)

    async with open_lab(App(on_stream=on_stream), settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start(custom={"auth_token": "hush", "name": "value"})
            await caller.frame(0)
            await caller.digit("7")
            await caller.frame(2)
            await settle()
            (stream,) = seen
            assert stream.account["inbound"].lost == 160
            assert stream.dropped == {}
            assert (stream.call_id, stream.started.dialect) == ("call_1", "twilio")
            assert stream.id in repr(stream)
            await caller.stop()
            await caller.close_code()
        (started,) = await lab.lines("streams", "started")
    assert numbers == [0, 320]
    assert started["custom"] == {"auth_token": "[redacted]", "name": "value"}
    assert (started["format"], started["tracks"]) == ("mulaw/8000/1", ["inbound", "outbound"])


async def test_part_of_a_frame_that_came_before_is_not_handed_over_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    frames: list[Frame] = []

    async def on_stream(stream: MediaStream) -> None:
        async for piece in stream:
            frames.append(piece)

    async with open_lab(App(on_stream=on_stream), settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.frame(0)
            await caller._send(caller._encoder.media("inbound", sound(80), 10))
            await caller.stop()
            await caller.close_code()
    assert [(piece.position, piece.samples) for piece in frames] == [(0, 160), (160, 80)]
    assert b"".join(piece.payload for piece in frames) == sound(0, 240)


async def test_binary_audio_without_a_word_is_taken_in_the_fallback_format(
    tmp_path: Path, autojump_clock: object
) -> None:
    frames: list[Frame] = []

    async def on_stream(stream: MediaStream) -> None:
        async for piece in stream:
            frames.append(piece)

    config = settings(tmp_path, fallback_format="l16le/16000/1", timeouts=patient())
    async with open_lab(App(on_stream=on_stream), config) as lab:
        async with lab.stream() as caller:
            for _ in range(120):
                await caller.socket.send(bytes(640))
            await settle()
            await caller.socket.close()
        (started,) = await lab.lines("streams", "started")
        (account,) = await lab.lines("streams", "account")
    assert (started["assumed"], started["format"]) == (True, "l16le/16000/1")
    assert account["tracks"]["mixed"]["received"] == 120 * 320
    assert sum(piece.samples for piece in frames) == 120 * 320


async def test_what_a_peer_can_repeat_at_will_is_logged_a_few_times_and_counted(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start()
            for _ in range(200):
                await caller.socket.send("garbage")
            await caller.stop()
            await caller.close_code()
        lines = await lab.lines("streams", "unknown")
        (account,) = await lab.lines("streams", "account")
        messages = await lab.lines("streams", "message")
    assert (len(lines), account["unknown"]) == (50, 200)
    assert "counted only" in lines[-1]["more"]
    assert [line["number"] for line in messages] == [1, 2, 3, 4]
    assert '"event":"connected"' in messages[0]["text"].replace(" ", "")


async def test_progress_is_logged_every_few_seconds(tmp_path: Path, autojump_clock: object) -> None:
    config = settings(tmp_path, progress_every=5.0, timeouts=patient(ping_every=2))
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(800)
            await caller.stop()
            await caller.close_code()
        lines = await lab.lines("streams", "progress")
    assert [round(line["tracks"]["inbound"]["seconds"]) for line in lines] == [5, 10, 15]
    assert all(line["ping"] == 0 for line in lines)
