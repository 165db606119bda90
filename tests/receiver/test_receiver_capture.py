"""Captures: all that was said, nothing secret, and never at the stream's expense."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from receiver_lab import WALL, Lab, open_lab, patient, read_log, settings, sound

from minivoice_ref.commands.captures import open_capture
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.protocol.capture_format import Ended, Handshake, Lost, Message, Record
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import MediaFormat, Started
from minivoice_ref.receiver import endings
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.capture import Capture, capture_path
from minivoice_ref.receiver.disk import InlineDisk, ThreadDisk
from minivoice_ref.simulator.replay import replay

NOTES: list[tuple[str, dict[str, Any]]] = []


def note(what: str, *, level: int = 0, **fields: object) -> None:
    NOTES.append((what, dict(fields)))


def small(folder: Path, **changes: Any) -> Capture:
    given: dict[str, Any] = {"disk": InlineDisk(1), "limit": 10**9, "note": note}
    given["timeouts"] = Timeouts()
    NOTES.clear()
    shake = Handshake("stream_1", "2026-05-29T12:10:00Z")
    return Capture(folder / "captures" / "one.jsonl.gz", shake, **given | changes)


def read(path: Path) -> tuple[Handshake, list[Record]]:
    reader = open_capture(path)
    records = list(reader)
    assert reader.skipped == 0
    return reader.handshake, records


def captures(lab: Lab) -> list[Path]:
    return sorted((lab.config.data / "captures").glob("*"))


async def test_every_message_is_kept_with_its_time_and_nothing_secret(
    tmp_path: Path, autojump_clock: object
) -> None:
    secret = "the-secret-of-the-webhooks"
    config = settings(tmp_path, capture=True, webhook_secret=secret, timeouts=patient())
    async with open_lab(App(), config) as lab:
        url = await lab.stream_url("../../etc/call")
        async with lab.stream("../../etc/call", url) as caller:
            token = url.rpartition("/")[2]
            await caller.start("inbound", custom={"api-key": "k-17", "url": url, "w": secret})
            await caller.speak(3)
            await caller.socket.send(b"\x00\xff")
            await caller.stop()
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
        (began,) = await lab.lines("streams", "capture")
    (path,) = captures(lab)
    assert account["capture"] == began["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and ".." not in path.name
    assert path.name.startswith("20260528T2026")
    shake, records = read(path)
    assert shake.call_id == "../../etc/call" and shake.settings["fallback"] == "l16le/8000/1"
    assert shake.path is not None and shake.path.startswith("/stream/") and "…" in shake.path
    assert ("upgrade", "websocket") in [(n.lower(), v) for n, v in shake.headers]
    whole = gzip.decompress(path.read_bytes()).decode()
    assert token not in whole and "k-17" not in whole and secret not in whole
    messages = [one for one in records if isinstance(one, Message)]
    assert len(messages) == 7 and all(one.sender == "platform" for one in messages)
    kinds = [json.loads(one.content)["event"] for one in messages if isinstance(one.content, str)]
    assert kinds == ["connected", "start", "media", "media", "media", "stop"]
    assert messages[5].content == b"\x00\xff"
    times = [one.at for one in messages]
    assert times == sorted(times) and times[3] - times[2] == pytest.approx(0.02)
    end = records[-1]
    assert isinstance(end, Ended)
    assert (end.how, end.by, end.code) == ("stopped", "platform", 1000)


async def test_without_the_setting_nothing_is_kept(tmp_path: Path, autojump_clock: object) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.stop()
            await caller.close_code()
    assert captures(lab) == []
    assert "capture" not in read_log(lab.config.data, "streams", "account")[0]


async def test_a_cancelled_receiver_still_writes_what_it_has(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, capture=True, timeouts=patient())
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start("inbound")
            await caller.speak(10)
            lab.serving.cancel()
            assert await caller.close_code() == 1001
    _, records = read(captures(lab)[0])
    assert isinstance(records[-1], Ended) and records[-1].how == "draining"
    assert len(records) == 2 + 10 + 1


async def test_the_file_is_valid_up_to_its_last_second_at_any_moment(
    tmp_path: Path, autojump_clock: object
) -> None:
    capture = small(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capture.run)
        for number in range(40):
            capture.add([f"message {number}"])
            await trio.sleep(0.1)
            if number > 12:
                whole = capture.path.read_bytes()
                kept = [one for one in open_capture(capture.path) if isinstance(one, Message)]
                assert number - 12 <= len(kept) <= number + 1
                torn = tmp_path / "torn.gz"
                torn.write_bytes(whole[:-3])
                assert len(list(open_capture(torn))) <= len(kept)
        capture.finish(endings.STOPPED)
    assert len(read(capture.path)[1]) == 41 and NOTES == [("capture", {"file": capture.path})]


async def test_what_does_not_fit_into_memory_is_counted_where_it_is_missing(
    tmp_path: Path, autojump_clock: object
) -> None:
    capture = small(tmp_path)
    big = b"x" * (1024 * 1024)
    for _ in range(6):
        capture.add([big])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capture.run)
        await trio.sleep(2)
        capture.add(["after"])
        await trio.sleep(2)
        for _ in range(4):
            capture.add([big])
        capture.finish(endings.STOPPED)
    _, records = read(capture.path)
    kinds = [type(one).__name__ for one in records]
    assert kinds == [*["Message"] * 3, "Lost", "Message", *["Message"] * 3, "Lost", "Ended"]
    lost = [one for one in records if isinstance(one, Lost)]
    assert [(one.messages, one.bytes) for one in lost] == [(3, 3 * len(big)), (1, len(big))]
    assert capture.lost == 4 and capture.file == capture.path


async def test_a_file_at_its_limit_ends_and_stays_readable(
    tmp_path: Path, autojump_clock: object
) -> None:
    capture = small(tmp_path, limit=2000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capture.run)
        for _ in range(5):
            capture.add([os.urandom(300)])
            await trio.sleep(2)
        capture.add([b"no more"])
        capture.finish(endings.STOPPED)
    _, records = read(capture.path)
    assert 0 < len(records) < 5 and capture.path.stat().st_size <= 2000
    assert capture.file is None and NOTES[-1][0] == "capture_failed"
    assert "limits.capture, 2000 bytes" in NOTES[-1][1]["why"]


async def test_a_full_disk_ends_the_capture_and_never_the_stream(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, capture=True, timeouts=patient())
    whole, half = os.write, False

    def write(descriptor: int, data: bytes) -> int:
        nonlocal half
        if not os.readlink(f"/proc/self/fd/{descriptor}").endswith(".jsonl.gz"):
            return whole(descriptor, data)
        half = not half
        if half:
            return whole(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start("inbound")
            await caller.speak(60)
            monkeypatch.setattr(os, "write", write)
            await caller.speak(60, first=60)
            await caller.stop()
            assert await caller.close_code() == 1000
        (failed,) = await lab.lines("streams", "capture_failed")
        (account,) = await lab.lines("streams", "account")
    assert failed["code"] == "MV-706" and "No space left" in failed["why"]
    assert "capture" not in account and account["tracks"]["inbound"]["frames"] == 120
    gzip.decompress(captures(lab)[0].read_bytes())  # whole members only: half a one is taken back
    _, records = read(captures(lab)[0])
    assert len(records) >= 40


async def test_a_folder_that_cannot_be_made_ends_the_capture_alone(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, capture=True, timeouts=patient())
    config.data.mkdir()
    (config.data / "captures").touch()
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start("inbound")
            await caller.speak(3)
            await caller.stop()
            assert await caller.close_code() == 1000
        (failed,) = await lab.lines("streams", "capture_failed")
    assert failed["why"].startswith("FileExistsError") or "NotADirectory" in failed["why"]


def test_files_sort_by_time_and_are_named_by_our_id_alone() -> None:
    assert (
        str(capture_path(Path("c"), "stream_4f", WALL)) == "c/20260528T202640Z_stream_4f.jsonl.gz"
    )


def essence(account: dict[str, Any]) -> dict[str, Any]:
    """What of an account a replay must yield again."""
    moment = ("time", "call_id", "stream_id", "seconds", "recording", "capture", "dropped")
    return {name: value for name, value in account.items() if name not in moment}


async def stream_twilio(lab: Lab) -> None:
    """A call with gaps, repetitions, late and reordered audio, unknown messages, a digit."""
    async with lab.stream() as caller:
        await caller.start("inbound", "outbound")
        order = [*range(40), 45, 46, 44, 46, 300, 299, *range(301, 420), 120]
        for number in order:
            await caller.frame(number, "inbound")
            if number % 3:
                await caller.frame(number + 7, "outbound")
        await caller.socket.send('{"event":"weather"}')
        await caller.digit("5")
        await caller.stop()
        await caller.close_code()


async def stream_bare(lab: Lab) -> None:
    """Binary audio without a word, and a peer that just closes."""
    async with lab.stream() as caller:
        for number in range(200):
            await caller.socket.send(sound(number * 320, 320))
        await caller.socket.close(1000)


async def stream_vanishing(lab: Lab) -> None:
    """A stream that breaks without a goodbye, its start overtaken by its audio."""
    encoder = TwilioEncoder()
    started = Started("twilio", MediaFormat(), ("inbound",), stream_id="MZ9", call_id="CA9")
    start = encoder.start(started)
    async with lab.stream() as caller:
        for message in [*encoder.media("inbound", sound(0), 0), *start]:
            await caller.socket.send(message)
        for number in range(1, 50):
            for message in encoder.media("inbound", sound(number * 160), number * 20):
                await caller.socket.send(message)
        await caller.socket.ping()
        await caller.socket.abort()


@pytest.mark.parametrize("stream", [stream_twilio, stream_bare, stream_vanishing])
async def test_a_replay_at_full_speed_yields_the_same_wav_and_account_bit_for_bit(
    stream: Callable[[Lab], Any], tmp_path: Path
) -> None:
    config = settings(tmp_path, capture=True, record=True, timeouts=patient(), limits=Limits())
    with trio.fail_after(60):
        async with open_lab(App(), config, disk=ThreadDisk) as lab:
            await stream(lab)
        (path,) = captures(lab)
        async with open_lab(App(), config, disk=ThreadDisk) as lab:
            url = await lab.stream_url("call_2")
            connect = lab.network.connect
            report = await replay(open_capture(path), url, connect=connect, speed=None)
            assert report.verdict == "pass", str(report)
    first, second = read_log(config.data, "streams", "account")
    assert essence(first) == essence(second) and first["tracks"]
    wavs = [Path(one["recording"]).read_bytes() for one in (first, second)]
    assert wavs[0] == wavs[1] and any(wavs[0][44:])
    again = [read(one)[1] for one in captures(lab)]
    contents = [[one.content for one in two if isinstance(one, Message)] for two in again]
    assert contents[0] == contents[1] and len(contents[0]) == report.sent
    ends = [(two[-1].how, two[-1].code) for two in again if isinstance(two[-1], Ended)]
    assert ends[0] == ends[1]


async def test_a_secret_in_json_that_came_as_binary_is_kept_out_and_audio_is_not_touched(
    tmp_path: Path, autojump_clock: object
) -> None:
    capture = small(tmp_path, secrets=("known-secret",))
    audio = [b"{" + bytes(range(128, 160)), b"{not json}", b"\x00" * 320]
    capture.add([b'{"customParameters": {"token": "t0p", "note": "known-secret"}}', *audio])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capture.run)
        capture.finish(endings.STOPPED)
    start, *rest = [one for one in read(capture.path)[1] if isinstance(one, Message)]
    assert isinstance(start.content, bytes) and json.loads(start.content)
    assert b"t0p" not in start.content and b"known-secret" not in start.content
    assert [one.content for one in rest] == audio
