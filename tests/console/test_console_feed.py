"""The feed: what a browser is told, how little it costs, and what a slow one loses."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from console_lab import HOST, TOKEN, ConsoleLab, open_console_lab
from receiver_lab import patient, read_log, webhook

from minivoice_ref.console.viewers import Viewer, Wants
from minivoice_ref.console.watched import Attention
from minivoice_ref.net.websocket import SocketClosed


def states(card: dict[str, Any]) -> list[str]:
    return [step["state"] for step in card["steps"]]


@pytest.mark.documents("use-live-monitoring")
async def test_a_call_goes_through_its_six_steps_while_it_happens(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_console_lab(tmp_path, timeouts=patient()) as lab,
        lab.browser() as browser,
    ):
        await browser.look(calls=True)
        empty = await browser.until("calls")
        assert empty == {"type": "calls", "all": True, "calls": [], "gone": []}
        await lab.deliver(webhook("call.created"))
        url = await lab.stream_url()
        card = (await browser.until("calls"))["calls"][0]
        assert states(card) == ["ok", "ok", "waiting", "waiting", "waiting", "waiting"]
        assert (card["name"], card["direction"], card["verdict"]) == ("call_1", "inbound", "open")
        async with lab.stream(url=url) as caller:
            await caller.start()
            await caller.speak(20, "inbound", "outbound")
            card = (await browser.until("calls", lambda m: m["calls"] and m["calls"][0]["tracks"]))[
                "calls"
            ][0]
            assert states(card)[:4] == ["ok"] * 4
            assert card["live"] and card["dialects"] == ["twilio"]
            await caller.stop()
            await caller.close_code()
        await lab.deliver(webhook())
        card = (await browser.until("calls", lambda m: m["calls"] and m["calls"][0]["over"]))[
            "calls"
        ][0]
        # The clock of the webhooks in this test stands still, and the sixth step says so.
        assert states(card)[:5] == ["ok"] * 5
        assert card["wrong"]["code"] == "MV-612"


async def test_what_is_only_late_is_waited_for_and_then_it_is_a_failure(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await browser.look(calls=True)
        await lab.stream_url()
        waiting = (await browser.until("calls", lambda m: m["calls"]))["calls"][0]
        assert states(waiting)[2] == "waiting" and waiting["wrong"] is None
        failed = (await browser.until("calls", lambda m: m["calls"]))["calls"][0]
        assert states(failed)[2] == "fail"
        assert failed["wrong"]["code"] == "MV-311"
        assert failed["wrong"]["mend"]


async def test_an_open_call_brings_its_peaks_its_lines_and_its_sums(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_console_lab(tmp_path, timeouts=patient()) as lab,
        lab.browser() as browser,
        lab.stream() as caller,
    ):
        await caller.start()
        await browser.look(call="call_1")
        whole = await browser.until("call")
        assert whole["all"] and whole["asked"] == "call_1"
        assert [line["what"] for line in whole["lines"]][:2] == ["answered", "open"]
        await caller.speak(10, "inbound", first=5)
        stream = whole["streams"][0]["id"]
        bins: dict[int, int] = {}
        while len(bins) < 10:
            peaks = (await browser.until("peaks"))["peaks"][stream]["inbound"]
            for first, *run in peaks:
                bins.update(enumerate(run, first))
        assert sorted(bins) == list(range(5, 15))
        assert all(0 < peak <= 255 for peak in bins.values())
        news = await browser.until("call", lambda m: m["streams"][0]["tracks"])
        assert not news["all"]
        assert "first_media" in [line["what"] for line in news["lines"]]
        assert news["streams"][0]["tracks"]["inbound"]["received"] > 0
        assert "inbound" in news["streams"][0]["coming"]


async def test_jitter_and_rate_are_those_of_the_arrivals(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_console_lab(tmp_path, timeouts=patient()) as lab,
        lab.browser() as browser,
        lab.stream() as caller,
    ):
        await caller.start()
        await browser.look(call="call_1")
        await caller.speak(200, "inbound")
        steady = (
            await browser.until(
                "call", lambda m: m["streams"][0]["coming"].get("inbound", {}).get("rate")
            )
        )["streams"][0]["coming"]["inbound"]
        assert steady["rate"] == pytest.approx(50, abs=2)
        assert steady["jitter_ms"] < 1


async def test_without_a_viewer_no_frame_is_looked_at(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab, lab.stream() as caller:
        await caller.start()
        await caller.speak(3)
        (watched,) = lab.console.feed._streams.values()
        intake = watched._stream._intake
        assert intake.tap is None
        async with lab.browser() as browser:
            await browser.look(call="call_1")
            await browser.until("call")
            assert watched.attention is Attention.LOOK
        await trio.testing.wait_all_tasks_blocked()
        assert intake.tap is None


async def test_who_listens_hears_the_samples_and_stands_in_the_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab:
        async with lab.browser() as browser, lab.stream() as caller:
            await caller.start()
            await browser.look(call="call_1", listen=True)
            await browser.until("call")
            await caller.speak(10, "outbound")
            await browser.until("call", lambda m: m["streams"][0]["tracks"])
            chunk = browser.audio[0]
            track, samples, rate, at = struct.unpack_from("<BxHId", chunk)
            assert (track, samples, rate, at) == (1, 160, 8000, 0.0)
            assert any(chunk[16 : 16 + 320])
        await trio.testing.wait_all_tasks_blocked()
        (began,) = await lab.lines("streams", "listening")
        (ended,) = await lab.lines("streams", "listening_ended")
        assert began["call_id"] == ended["call_id"] == "call_1"
        assert began["peer"].startswith("192.0.2.1:")


async def test_the_logs_come_whole_and_then_line_by_line_each_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await lab.stream_url()
        await browser.look(logs=True)
        whole = await browser.until("logs")
        assert whole["all"]
        assert {line["what"] for line in whole["lines"]} == {"console_opened", "answered"}
        await lab.deliver(webhook("call.created"))
        more = await browser.until("logs")
        assert not more["all"]
        seen = [line["what"] for line in more["lines"]]
        while "handled" not in seen:
            seen += [line["what"] for line in (await browser.until("logs"))["lines"]]
        assert seen == ["accepted", "handled"]


async def test_a_call_that_is_not_known_is_said_to_be_so(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await browser.look(call="nobody")
        assert (await browser.until("call"))["card"] is None


async def test_a_message_is_made_once_for_all_who_look(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        viewers = [Viewer("one"), Viewer("two")]
        async with lab.stream() as caller:
            await caller.start()
            for viewer in viewers:
                lab.console.feed.add(viewer)
                await lab_look(lab, viewer)
            await caller.speak(12)
            first, second = ([*viewer._waiting] for viewer in viewers)
            assert first[-1] is second[-1] and len(first) > 1
            for viewer in viewers:
                lab.console.feed.remove(viewer)


async def lab_look(lab: ConsoleLab, viewer: Viewer) -> None:
    """Have a viewer without a socket look at the call, and take what it is told first."""
    viewer.want(Wants(calls=True, call="call_1"))
    viewer._stale = False
    lab.console.feed.attend()
    await trio.lowlevel.checkpoint()


async def test_what_waits_for_a_browser_that_takes_nothing_is_little() -> None:
    """Its queue is bounded; what it missed is replaced by the present state."""
    viewer = Viewer("slow")
    viewer._stale = False
    for number in range(1000):
        viewer.put(f"message {number}")
    assert len(viewer._waiting) == 0 and viewer.missed == 65
    for _ in range(1000):
        viewer.reply("an answer")
    assert len(viewer._replies) == 256
    await trio.lowlevel.checkpoint()


async def test_a_dead_browser_is_given_up_and_the_stream_goes_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient(send=3.0)) as lab:
        async with lab.browser() as browser, lab.stream() as caller:
            await caller.start()
            await browser.look(call="call_1", listen=True)
            # It never reads again: its buffers fill, then its deadline passes.
            await caller.speak(1000, "inbound", "outbound")
            await caller.stop()
            assert await caller.close_code() == 1000
        await trio.testing.wait_all_tasks_blocked()
        (account,) = await lab.lines("streams", "account")
        assert account["tracks"]["inbound"]["lost"] == 0
        (closed,) = await lab.lines("streams", "console_closed")


@pytest.mark.parametrize(
    "message",
    ["no json", "[]", '{"do": "dance"}', '{"do": "look", "call": 7}', '{"do": "test", "order": 1}'],
)
async def test_what_our_page_never_sends_ends_the_feed_with_1008(
    message: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await browser.socket.send(message)
        with pytest.raises(SocketClosed) as caught:
            await browser.until("nothing")
        assert caught.value.code == 1008
        await trio.testing.wait_all_tasks_blocked()
        streams = (lab.config.data / "streams.jsonl").read_text()
        assert "console_refused" in streams and "MV-701" not in streams  # no fault of ours


async def test_the_feed_goes_with_the_server_once_no_stream_is_left(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab:
        async with lab.browser() as browser, lab.stream() as caller:
            await caller.start()
            await browser.look(call="call_1")
            lab.server.stop()
            await caller.speak(50)
            await browser.until("peaks")
            await caller.stop()
            await caller.close_code()
            with pytest.raises(SocketClosed) as caught:
                await browser.until("nothing")
            assert caught.value.code == 1001


@pytest.mark.parametrize("begun_anew", [False, True])
async def test_the_calls_of_the_run_before_are_there_again(
    begun_anew: bool, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(5, "inbound", "outbound")
            await caller.stop()
            await caller.close_code()
    assert read_log(tmp_path / "data", "streams", "account")
    for log in (tmp_path / "data").glob("*.jsonl") if begun_anew else ():
        log.rename(f"{log}.1")
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await browser.look(calls=True)
        (card,) = (await browser.until("calls"))["calls"]
        assert (card["name"], card["live"], card["over"]) == ("call_1", False, False)
        assert states(card)[:5] == ["ok"] * 5


async def test_an_action_list_is_checked_by_the_same_table(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        bad = '{"actions": [{"type": "start_stream", "stream_url": "http://x", "track": "left"}]}'
        await browser.ask("check", number=3, text=bad)
        checked = await browser.until("checked")
        assert checked["number"] == 3 and not checked["valid"]
        assert [one["path"] for one in checked["problems"]] == [
            "actions[0].stream_url",
            "actions[0].track",
        ]


async def test_the_token_does_not_turn_up_in_any_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        async with lab.browser() as browser:
            await browser.until("hello")
        await lab.get("")
        await lab.get(f"nowhere/{TOKEN}")
    for file in (tmp_path / "data").glob("*.jsonl"):
        assert TOKEN not in file.read_text()


async def test_a_call_that_is_not_known_cannot_be_listened_to_nor_stands_it_in_the_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await browser.look(call="nobody", listen=True)
        await browser.until("call")
        assert await lab.lines("streams", "listening") == []


async def test_a_stream_of_no_known_call_is_named_by_its_own_id(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_console_lab(tmp_path, require_token=False) as lab,
        lab.browser() as browser,
        lab.stream(url=f"wss://{HOST}:80/stream/none"),
    ):
        (opened,) = await lab.lines("streams", "open")
        await browser.look(call=opened["stream_id"], listen=True)
        await browser.until("call")
        (line,) = await lab.lines("streams", "listening")
        assert line["stream_id"] == opened["stream_id"] and "call_id" not in line


async def test_who_looks_at_a_call_by_another_of_its_ids_gets_its_peaks_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_console_lab(tmp_path, timeouts=patient()) as lab,
        lab.browser() as one,
        lab.browser() as other,
        lab.stream() as caller,
    ):
        await caller.start()
        (opened,) = await lab.lines("streams", "open")
        await one.look(call="call_1")
        await other.look(call=opened["stream_id"])
        for browser in (one, other):
            await browser.until("call")
        await caller.speak(20)
        for browser in (one, other):
            assert (await browser.until("peaks"))["peaks"][opened["stream_id"]]["inbound"]


async def test_a_browser_that_answers_pings_stays_and_one_that_does_not_is_given_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    timeouts = patient(ping_every=5.0, pong=2.0)
    async with open_console_lab(tmp_path, timeouts=timeouts) as lab, lab.browser() as browser:
        dead = await lab.network.connect(HOST, 80, False)
        head = (
            f"GET /console/feed HTTP/1.1\r\nHost: {HOST}:80\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n"
        )
        await dead.send_all(head.encode())
        await trio.testing.wait_all_tasks_blocked()
        assert lab.console.feed.viewers == 2
        with trio.move_on_after(30):
            await browser.until("nothing")
        assert lab.console.feed.viewers == 1


async def test_a_settled_call_is_told_of_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        await lab.deliver(webhook("call.failed"))
        await browser.look(call="call_1")
        await browser.until("call")
        with trio.move_on_after(5):
            await browser.until("nothing")
        assert [one["type"] for one in browser.messages] == []
