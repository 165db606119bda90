"""The limits on streams, each at its edge; refusals are told once, then counted."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from receiver_lab import HOST, Caller, Lab, open_lab, patient, settings, settle, webhook

from minivoice_ref.config import Limits
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.calls import Subject
from minivoice_ref.receiver.live_streams import LiveStreams, TooMany
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.pace import Pace

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def status_of(lab: Lab, url: str) -> int:
    """The status that a stream at *url* is answered with."""
    await trio.lowlevel.checkpoint()
    try:
        async with lab.stream(url=url):
            return 101
    except UpgradeRefused as exc:
        return exc.status


@pytest.mark.parametrize(
    ("limit", "same_call", "same_token", "status"),
    [
        ("streams", False, False, 503),
        ("streams_per_call", True, False, 429),
        ("streams_per_token", True, True, 429),
    ],
)
async def test_one_stream_too_many_is_refused_before_the_upgrade_and_there_is_room_again(
    limit: str,
    same_call: bool,
    same_token: bool,
    status: int,
    tmp_path: Path,
    autojump_clock: object,
) -> None:
    edge: dict[str, Any] = {limit: 2}
    config = settings(tmp_path, limits=Limits(**edge), timeouts=patient())
    async with open_lab(App(), config) as lab:
        token = await lab.stream_url("call_0")

        async def url(number: int) -> str:
            await trio.sleep(0.01)  # so that no two tokens expire in the same millisecond
            return token if same_token else await lab.stream_url(f"call_{number * (not same_call)}")

        async with AsyncExitStack() as streams:
            for number in range(2):
                await streams.enter_async_context(lab.stream(url=await url(number)))
            assert [await status_of(lab, await url(7)) for _ in range(3)] == [status] * 3
            health = json.loads((await lab.request("GET", "/health")).body)
            assert (health["streams"], health["refused"]) == (2, {limit: 3})
        await settle()
        assert await status_of(lab, await url(8)) == 101
    said = await lab.lines("streams", "limit")
    assert [(line["limit"], line["refused"]) for line in said] == [(limit, 1), (limit, 2)]
    assert said[0]["code"] == "MV-307" and "code" not in said[1]


@pytest.mark.parametrize("how", ["the application fails", "nobody waits for the answer"])
async def test_a_stream_that_ends_badly_gives_its_place_back(
    how: str, tmp_path: Path, autojump_clock: object
) -> None:
    async def on_stream(stream: MediaStream) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(how)

    config = settings(tmp_path, limits=Limits(streams=1))
    async with open_lab(App(on_stream=on_stream), config) as lab:
        for _ in range(3):
            if how == "the application fails":
                async with lab.stream() as caller:
                    await caller.start()
                    assert await caller.close_code() == 1011
            else:
                path = (await lab.stream_url()).partition(":80")[2]
                head = [f"GET {path} HTTP/1.1", f"Host: {HOST}"]
                head += [f"{name}: {value}" for name, value in UPGRADE.items()]
                async with await lab.network.connect(HOST, 80, False) as peer:
                    await peer.send_all("\r\n".join([*head, "", ""]).encode())
            await settle()
        assert await status_of(lab, await lab.stream_url()) == 101


async def test_what_goes_on_beyond_a_limit_is_told_again_after_a_minute(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, limits=Limits(streams=1), timeouts=patient(first_message=600))
    async with open_lab(App(), config) as lab, lab.stream():
        for _ in range(70):
            await status_of(lab, await lab.stream_url())
            await trio.sleep(1)
        said = await lab.lines("streams", "limit")
        assert [line["refused"] for line in said] == [1, 60]


async def test_strangers_cannot_flood_the_log(tmp_path: Path, autojump_clock: object) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        for _ in range(2):
            for _ in range(80):
                async with await lab.network.connect(HOST, 80, False) as stream:
                    await stream.send_all(b"no HTTP\r\n\r\n")
                    assert b" 400 " in bytes(await stream.receive_some())
            await trio.sleep(61)
        said = await lab.lines("streams", "connection")
        assert len(said) == 100
        assert [line["left_out"] for line in said if "left_out" in line] == [30]


async def test_a_refused_upgrade_says_when_to_come_back(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, limits=Limits(streams=1), timeouts=patient())
    async with open_lab(App(), config) as lab, lab.stream():
        path = (await lab.stream_url()).partition(":80")[2]
        response = await lab.request("GET", path, headers=UPGRADE)
        assert (response.status, response.header("retry-after")) == (503, "5")


async def test_a_stream_that_broke_may_be_opened_again_with_its_token_and_that_is_logged(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, timeouts=patient(), token_lifetime=60.0)
    async with open_lab(App(), config) as lab:
        url = await lab.stream_url()
        for _ in range(3):
            async with lab.stream(url=url) as caller:
                await caller.socket.abort()
            await settle()
        said = await lab.lines("streams", "opened_again")
        assert [(line["call_id"], line["nth"]) for line in said] == [("call_1", 2), ("call_1", 3)]
        await trio.sleep(61)
        assert await status_of(lab, url) == 403


async def test_a_stream_that_sends_too_many_messages_is_closed_with_1008(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, limits=Limits(message_rate=10), timeouts=patient())
    async with open_lab(App(), config) as lab, lab.stream() as caller:
        await caller.start("inbound")  # two messages
        for number in range(98):
            await caller.frame(number)
        await settle()
        assert not await lab.lines("streams", "disconnected")
        await caller.frame(98)
        assert await caller.close_code() == 1008
        (end,) = await lab.lines("streams", "disconnected")
        assert (end["how"], end["code"]) == ("too_fast", "MV-513")
        (account,) = await lab.lines("streams", "account")
        assert account["tracks"]["inbound"]["received"] == 98 * 160


def test_a_pace_allows_ten_seconds_at_once_and_then_what_time_allows() -> None:
    pace = Pace(100, now=0.0)
    assert pace.allows(1000, now=0.0) and not pace.allows(1, now=0.0)
    pace = Pace(100, now=0.0)
    assert all(pace.allows(100, now=float(second)) for second in range(1000))
    assert pace.allows(1000, now=1000.0) and not pace.allows(201, now=1001.0)
    assert not Pace(100, now=0.0).allows(1001, now=3600.0), "an hour's silence saves nothing up"


@pytest.mark.documents("no-order-promised")
async def test_a_stream_is_heard_to_its_end_though_its_call_has_ended_before(
    tmp_path: Path, autojump_clock: object
) -> None:
    """What was on its way when call.completed came is not cut off by the linger."""
    config = settings(tmp_path, timeouts=patient(linger=2.0))
    async with open_lab(App(), config) as lab, lab.stream() as caller:
        await caller.start("inbound")
        await lab.deliver(webhook())
        for number in range(10):
            await trio.sleep(1.5)
            await caller.frame(number)
        await caller.stop()
        assert await caller.close_code() == 1000
        (end,) = await lab.lines("streams", "disconnected")
        assert end["how"] == "stopped"


@pytest.mark.parametrize(("speaks", "seconds"), [(False, 2.0), (True, 30.0)])
async def test_a_stream_that_outlives_its_call_is_cut(
    speaks: bool, seconds: float, tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, timeouts=patient(linger=2.0, silence=30.0))
    async with open_lab(App(), config) as lab, lab.stream() as caller:
        await caller.start("inbound")
        await lab.deliver(webhook())
        ended = trio.current_time()
        async with trio.open_nursery() as nursery:
            if speaks:
                nursery.start_soon(_speak_for_ever, caller)
            assert await caller.close_code() == 1000
            nursery.cancel_scope.cancel()
        assert trio.current_time() - ended == pytest.approx(seconds, abs=0.1)
        (end,) = await lab.lines("streams", "disconnected")
        assert end["how"] == "call_ended"


async def _speak_for_ever(caller: Caller) -> None:
    while True:
        await caller.speak(50)


def test_tokens_are_forgotten_when_they_have_expired() -> None:
    streams = LiveStreams(Limits(calls=3, streams_per_token=1))
    subject = Subject("call_1")
    held = streams.enter(subject, "held", 10.0, now=0.0)
    for number in range(20):
        expires_at = 5.0 if number < 10 else 100.0
        place = streams.enter(Subject(f"call_{number}"), f"token {number}", expires_at, now=6.0)
        assert place.nth == 1
        place.release()
    assert len(streams._uses) <= 3
    with pytest.raises(TooMany):  # one that is in use is never forgotten
        streams.enter(subject, "held", 10.0, now=6.0)
    held.release()
    assert streams.enter(subject, "held", 10.0, now=6.0).nth == 2
    assert len(streams) == 1


def test_streams_without_a_token_are_counted_in_all_and_of_no_call() -> None:
    streams = LiveStreams(Limits(streams_per_call=1))
    places = [streams.enter(Subject(), None, 0.0, now=0.0) for _ in range(3)]
    assert len(streams) == 3
    for place in places:
        place.release()
    assert len(streams) == 0


async def test_guessed_tokens_cannot_flood_the_log(tmp_path: Path, autojump_clock: object) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        for _ in range(2):
            for number in range(80):
                assert await status_of(lab, f"ws://{HOST}:80/stream/guess{number}") == 403
                assert (await lab.request("GET", f"/guess{number}")).status == 404
            await trio.sleep(61)
        for status in (403, 404):
            said = [x for x in await lab.lines("streams", "refused") if x["status"] == status]
            assert len(said) == 100
            assert [line["left_out"] for line in said if "left_out" in line] == [30]


async def test_so_many_messages_of_a_stream_are_logged_verbatim_and_no_more(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, limits=Limits(first_messages=3, log_excerpt=40), timeouts=patient())
    async with open_lab(App(), config) as lab, lab.stream() as caller:
        await caller.start("inbound")
        await caller.speak(20)
        said = await lab.lines("streams", "message")
        assert [line["number"] for line in said] == [1, 2, 3]
        assert all(len(line["text"]) <= 40 for line in said)


async def test_the_message_rate_is_checked_though_nothing_of_it_is_understood(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, limits=Limits(message_rate=10), timeouts=patient())
    async with open_lab(App(), config) as lab, lab.stream() as caller:
        for _ in range(101):
            await caller.socket.send("{}")
        assert await caller.close_code() == 1008
