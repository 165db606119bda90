"""Who is let in to a stream, who is refused before the upgrade, and what else is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from receiver_lab import HOST, WALL, open_lab, patient, settings, settle, webhook

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.protocol.signing import mint_token
from minivoice_ref.receiver.app import App

KEY = "the token key of the tests"
WALL_FUTURE = WALL + 600


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "malformed"),
        ("nonsense", "malformed"),
        (mint_token("another key", "call:call_1", WALL_FUTURE), "forged"),
        (mint_token(KEY, "call:call_1", WALL - 1), "expired"),
    ],
)
@pytest.mark.documents("receiver-accepts")
async def test_a_stream_without_a_good_token_gets_a_403_before_the_upgrade(
    token: str, why: str, tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path, token_key=KEY)) as lab:
        before = await settle()
        with pytest.raises(UpgradeRefused) as refusal:
            async with lab.stream(url=f"wss://{HOST}:80/stream/{token}"):
                raise AssertionError
        assert refusal.value.status == 403
        await trio.sleep(5)  # the refused connection lingers for a moment
        assert await settle() == before
        (line,) = await lab.lines("streams", "refused")
        assert line["status"] == 403 and f"token {why}" in line["why"]
        if token:
            assert token not in json.dumps(line)
        assert not await lab.lines("streams", "connection")  # it is told once


async def test_a_token_is_good_until_it_expires(tmp_path: Path, autojump_clock: object) -> None:
    config = settings(tmp_path, token_lifetime=60.0, timeouts=patient())
    async with open_lab(App(), config) as lab:
        url = await lab.stream_url()
        await trio.sleep(59)
        async with lab.stream(url=url) as caller:
            await trio.sleep(2)
            with pytest.raises(UpgradeRefused):
                async with lab.stream(url=url):
                    raise AssertionError
            await caller.start()  # the stream that was let in goes on
            await caller.stop()
            assert await caller.close_code() == 1000


async def test_in_a_lab_streams_may_come_without_a_token(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, token_key=KEY, require_token=False)
    async with open_lab(App(), config) as lab:
        for path in ("/stream", "/stream/anything"):
            async with lab.stream("call_5", f"ws://{HOST}:80{path}") as caller:
                await caller.start()
                await settle()
                await lab.deliver(webhook(call_id="call_5"))
                assert await caller.close_code() == 1000
        good = mint_token(KEY, "call:call_6", WALL_FUTURE)
        async with lab.stream("call_5", f"ws://{HOST}:80/stream/{good}") as caller:
            await caller.start()
            await caller.stop()
        started = await lab.lines("streams", "started")
        assert [line["call_id"] for line in started] == ["call_5", "call_5", "call_6"]


async def test_the_log_of_an_opened_stream_shows_the_handshake_without_secrets(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        url = await lab.stream_url()
        async with open_connected(
            url,
            connect=lab.network.connect,
            headers=[
                ("Authorization", "Bearer tellnobody"),
                ("X-Platform", "yes"),
                ("Referer", "https://h/?token=tellnobody"),
            ],
            subprotocols=["audio.drachtio.org", "bearer", "eyJ.tellnobody"],
            limits=Limits(),
            timeouts=Timeouts(),
        ) as socket:
            await socket.close()
        (line,) = await lab.lines("streams", "open")
        assert ["authorization", "[redacted]"] in line["headers"]
        assert ["x-platform", "yes"] in line["headers"]
        assert line["subprotocols"] == ["audio.drachtio.org", "[redacted]", "[redacted]"]
        assert "tellnobody" not in json.dumps(line)
        token = url.rpartition("/")[2]
        assert line["path"] == f"/stream/{token[:6]}…"
        for file in lab.config.data.glob("*.jsonl"):
            assert token not in file.read_text()


async def test_a_plain_request_for_a_stream_is_told_to_upgrade(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        response = await lab.request("GET", "/stream/token")
        assert (response.status, response.header("Upgrade")) == (426, "websocket")


@pytest.mark.parametrize("path", ["/", "/streams", "/nothing", "/answer/"])
async def test_what_is_not_there_is_a_404_and_logged(
    path: str, tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        assert (await lab.request("GET", path)).status == 404
        with pytest.raises(UpgradeRefused) as refusal:
            async with lab.stream(url=f"ws://{HOST}:80{path}"):
                raise AssertionError
        assert refusal.value.status == 404
        assert len(await lab.lines("streams", "refused")) == 2


async def test_health_counts_streams_and_calls(tmp_path: Path, autojump_clock: object) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await settle()
            response = await lab.request("GET", "/health")
        expected = {"status": "ok", "troubles": [], "streams": 1, "calls": 1, "refused": {}}
        expected |= {"node": "alone", "others": {}}
        assert (response.status, json.loads(response.body)) == (200, expected)
        assert (await lab.request("HEAD", "/health")).body == b""
        assert (await lab.request("POST", "/health")).status == 405


async def test_a_call_is_remembered_as_long_as_its_stream_lives(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def calls() -> object:
        return json.loads((await lab.request("GET", "/health")).body)["calls"]

    async with open_lab(App(), settings(tmp_path, limits=Limits(calls=1))) as lab:
        async with lab.stream("call_1"):
            await lab.stream_url("call_2")
            assert await calls() == 2
        await settle()
        await lab.stream_url("call_3")
        assert await calls() == 1


async def test_health_says_that_the_logs_cannot_be_written(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        blocked = lab.config.data / "webhooks.jsonl"
        blocked.mkdir()
        await lab.deliver(webhook())
        await settle()
        response = await lab.request("GET", "/health")
        assert response.status == 200  # calls can be served
        assert json.loads(response.body)["troubles"] == ["the logs cannot be written"]
        blocked.rmdir()


async def test_with_a_door_of_their_own_streams_come_in_there_only(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, stream_listen="streams.test:81", public_url=None)
    async with open_lab(App(), config) as lab:
        url = await lab.stream_url()
        assert url.startswith("wss://streams.test:81/stream/")
        assert lab.server.urls.stream == "ws://streams.test:81/stream"
        async with lab.stream() as caller:
            await caller.start()
            await caller.stop()
            assert await caller.close_code() == 1000
        with pytest.raises(UpgradeRefused):
            async with lab.stream(url=url.replace("streams.test:81", f"{HOST}:80")):
                raise AssertionError
        assert (await lab.request("GET", "/stream/x")).status == 404


async def test_trouble_on_a_connection_is_in_the_streams_log(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        stream = await lab.network.connect(HOST, 80, False)
        await stream.send_all(b"NONSENSE\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400")
        await stream.aclose()
        (line,) = await lab.lines("streams", "connection")
        assert (line["kind"], line["status"], line["level"]) == ("refused", 400, "warning")
