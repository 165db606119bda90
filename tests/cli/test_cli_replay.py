"""`serve --capture`, `call`, `replay`: the same stream once more, as an operator does it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.cli import main
from minivoice_ref.commands.captures import open_capture
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.front_door import Admission, Door, serve_doors
from minivoice_ref.net.http import Request, Response
from minivoice_ref.net.websocket import MediaSocket, PongTimeout, SocketClosed
from minivoice_ref.protocol.capture_format import (
    Ended,
    Handshake,
    Lost,
    Message,
    Record,
    write_handshake,
    write_record,
)
from minivoice_ref.simulator.replay import ask_for_stream, replay
from minivoice_ref.testing import MemoryNetwork

LIMITS, TIMEOUTS = Limits(), Timeouts(close=0.5)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def serving(files: Certificates, data: Path) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A receiver in a process of its own that captures and records; and its URLs."""
    command = [sys.executable, "-m", "minivoice_ref", "serve", "--listen", "127.0.0.1:0"]
    command += ["--tls-cert", str(files.cert), "--tls-key", str(files.key), "--json"]
    command += ["--data", str(data), "--record", "--capture"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["urls"]
    finally:
        process.kill()
        process.communicate()


def accounts(data: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (data / "streams.jsonl").read_text().splitlines())
    return [line for line in lines if line["what"] == "account"]


def essence(account: dict[str, Any]) -> dict[str, Any]:
    moment = ("time", "call_id", "stream_id", "seconds", "recording", "capture", "dropped")
    return {name: value for name, value in account.items() if name not in moment}


def test_a_captured_call_replayed_at_full_speed_yields_the_same_wav_and_account(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    with serving(certificates, data) as (process, urls):
        trust = ["--ca", str(certificates.ca)]
        call = ["call", "--answer-url", urls["answer"], "--webhook-url", urls["webhooks"]]
        assert main([*call, *trust, "--speak", "2"]) == 0
        capsys.readouterr()
        (capture,) = (data / "captures").glob("*.jsonl.gz")
        again = ["replay", str(capture), "--answer-url", urls["answer"], "--fast", *trust]
        assert main([*again, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["verdict"] == "pass" and report["complete"] and report["seconds"] < 2
        assert report["ended"] and report["skipped_lines"] == report["missing"] == 0
        assert "…" in report["stream_url"] and report["close_code"] == 1000
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    first, second = accounts(data)
    assert essence(first) == essence(second)
    assert first["messages"] == second["messages"] == report["sent"]
    assert Path(first["recording"]).read_bytes() == Path(second["recording"]).read_bytes()
    wav = tmp_path / "shown.wav"
    assert main(["show", str(capture), "--wav", str(wav), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert wav.read_bytes() == Path(first["recording"]).read_bytes()
    for track, told in shown["tracks"].items():
        sums = {name: first["tracks"][track][name] for name in told["account"]}
        assert sums == told["account"]
    assert shown["guess"]["format"] == "mulaw/8000/1"
    begun = first["call_id"] != second["call_id"]
    assert begun and second["call_id"].startswith("call_replay_")


def test_a_receiver_that_is_killed_leaves_a_capture_that_can_be_shown(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    with serving(certificates, data) as (process, urls):
        call = ["--answer-url", urls["answer"], "--ca", str(certificates.ca), "--speak", "20"]
        command = [sys.executable, "-m", "minivoice_ref", "call", *call]
        caller = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not any(one.stat().st_size > 3000 for one in data.glob("captures/*")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            process.kill()
            caller.kill()
            caller.wait()
    (capture,) = (data / "captures").glob("*.jsonl.gz")
    assert main(["show", str(capture), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert not shown["complete"] and shown["skipped_lines"] <= 1
    assert shown["tracks"]["inbound"]["account"]["received"] > 1000


# --- any receiver, in memory ---


class Receiver:
    """Some receiver: admits or refuses, takes so many messages, then closes as it is told."""

    def __init__(self, most: int = 10**9, *, close_code: int = 1000, refuse: int = 0) -> None:
        self.most, self.close_code, self.refuse = most, close_code, refuse
        self.heard: list[tuple[float, str | bytes]] = []
        self.end: tuple[int, bool] | None = None
        self.proposed = ""

    async def handle_request(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        start = {"type": "start_stream", "stream_url": "wss://receiver.test/stream/a-token"}
        return Response.json({"actions": [{"hold": {}}, start]})

    async def admit(self, request: Request) -> Admission | Response:
        await trio.lowlevel.checkpoint()
        self.proposed = request.header("sec-websocket-protocol") or ""
        return Response.problem(self.refuse) if self.refuse else Admission(request)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        try:
            while len(self.heard) < self.most:
                for message in await socket.receive():
                    self.heard.append((trio.current_time(), message))
            await socket.close(self.close_code)
        except SocketClosed as exc:
            self.end = exc.code, exc.by_peer
            await trio.lowlevel.checkpoint()

    def note(self, kind: str, **fields: object) -> None:
        """Nothing is logged here."""


def capture(path: Path, records: list[Record], **fields: Any) -> Path:
    lines = [write_handshake(Handshake("stream_1", "now", **fields)), *map(write_record, records)]
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


def ended(how: str, code: int, at: float = 0.3) -> Ended:
    return Ended(at, how, "platform", code)


async def play(path: Path, receiver: Receiver, *, ask: bool = False, **how: Any) -> Any:
    network = MemoryNetwork()
    stop = trio.Event()
    url = "wss://receiver.test/stream/a-token-of-theirs"
    doors = [Door([network.listener("receiver.test", 443)], None, receiver)]

    async def serve(task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC114, ASYNC128
        await serve_doors(doors, stop, limits=LIMITS, timeouts=TIMEOUTS, task_status=task_status)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            if ask:
                answer = "https://receiver.test/answer"
                url = await ask_for_stream(answer, "POST", "call_1", connect=network.connect)
            report = await replay(
                open_capture(path),
                url,
                connect=network.connect,
                **{"timeouts": TIMEOUTS, **how},
            )
            stop.set()
    return report


SAID: list[Record] = [
    Message(0.0, "platform", "hello"),
    Message(0.1, "platform", b"\x00\x01"),
    Message(0.1, "receiver", "not the platform's"),
    Lost(0.2, 4, 40),
    Message(0.3, "platform", "bye"),
]


@pytest.mark.parametrize(("speed", "lasts"), [(1.0, 0.3), (4.0, 0.075)])
async def test_messages_leave_at_the_pace_that_is_asked_for(
    speed: float, lasts: float, tmp_path: Path
) -> None:
    path = capture(tmp_path / "a.gz", [*SAID, ended("closed", 1000)])
    receiver = Receiver()
    report = await play(path, receiver, speed=speed)
    assert (report.verdict, report.sent, report.bytes) == ("partial", 3, 10)
    assert report.missing == 4 and "never had, its disk being slow: 4" in str(report)
    assert [message for _, message in receiver.heard] == ["hello", b"\x00\x01", "bye"]
    took = receiver.heard[-1][0] - receiver.heard[0][0]
    assert lasts - 0.02 <= took and report.seconds >= lasts
    assert receiver.end == (1000, True)


@pytest.mark.parametrize(
    ("end", "heard"),
    [
        (ended("closed", 4321), (4321, True)),
        (ended("closed", 1005), (1000, True)),
        (ended("closed", 1006), (1006, True)),
        (ended("stopped", 1000), (1000, True)),
        (None, (1000, True)),
    ],
)
async def test_the_stream_ends_as_the_captured_one_did(
    end: Ended | None, heard: tuple[int, bool], tmp_path: Path
) -> None:
    path = capture(tmp_path / "a.gz", [*SAID, *([end] if end else [])])
    receiver = Receiver()
    report = await play(path, receiver, speed=None)
    assert report.fault is None and receiver.end == heard
    assert report.ended == (end is not None)
    assert ("cut short after 0.300 s" in str(report)) == (end is None)


async def test_the_first_stream_of_an_answer_is_played_to(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.gz", [*SAID, ended("stopped", 1000)])
    report = await play(path, Receiver(most=3), ask=True, speed=None)
    assert report.fault is None and report.stream_url == "wss://receiver.test/stream/a-toke…"


async def test_a_receiver_that_closes_when_all_was_said_is_right(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.gz", [*SAID, ended("stopped", 1000)])
    report = await play(path, Receiver(most=3), speed=None)
    assert report.fault is None and report.close_code == 1000


async def test_a_receiver_that_closes_too_early_fails_the_replay(tmp_path: Path) -> None:
    said: list[Record] = [Message(0.0, "platform", f"{n}") for n in range(1000)]
    path = capture(tmp_path / "a.gz", said)
    report = await play(path, Receiver(most=3, close_code=1008), speed=None)
    assert "1008" in report.fault and "before all was sent" in report.fault
    assert report.to_json()["verdict"] == "fail" and str(report).startswith("FAIL")
    assert "cut short" not in str(report)


async def test_nobody_is_waited_for_at_the_end_of_a_capture_that_has_none(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.gz", SAID)
    report = await play(path, Receiver(), speed=None, timeouts=Timeouts(close=3600))
    assert report.verdict == "partial" and report.seconds < 20


WHOLE: list[Record] = [
    *(Message(number / 10, "platform", f"message {number}") for number in range(20)),
    ended("stopped", 1000, 2.0),
]


def torn_captures(folder: Path) -> dict[str, bytes]:
    """One capture, torn in several ways."""
    whole = capture(folder / "whole.gz", WHOLE).read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    return {
        "a gzip member": whole[: len(whole) * 2 // 3],
        "a line": gzip.compress(b"".join(lines[:11]) + lines[11][:9]),
        "between two lines": gzip.compress(b"".join(lines[:11])),
        "a line within": gzip.compress(b"".join([*lines[:5], b"{nothing\n", *lines[6:]])),
    }


@pytest.mark.parametrize(
    ("where", "skipped", "ended"),
    [
        ("a gzip member", None, False),
        ("a line", 1, False),
        ("between two lines", 0, False),
        ("a line within", 1, True),
    ],
)
async def test_a_torn_capture_is_played_as_far_as_it_goes_and_that_is_said(
    where: str, skipped: int | None, ended: bool, tmp_path: Path
) -> None:
    path = tmp_path / "torn.gz"
    path.write_bytes(torn_captures(tmp_path)[where])
    receiver = Receiver(most=19 if ended else 10**9)
    report = await play(path, receiver, speed=None)
    assert str(report).startswith("PARTIAL  ") and not report.complete
    assert report.fault is None and report.close_code == 1000
    assert report.ended is ended and (skipped is None or report.skipped == skipped)
    said = [message for _, message in receiver.heard]
    assert said == [text for number in range(20) if (text := f"message {number}") in said]
    assert report.sent == len(said) and 5 <= len(said) < 20
    cut = f"cut short after {(len(said) - 1) / 10:.3f} s"
    assert (cut in str(report)) == (not ended)
    assert ("left out: 1" in str(report)) == (report.skipped == 1)


def test_a_torn_capture_is_no_pass_on_the_command_line(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn, spoilt = tmp_path / "torn.gz", tmp_path / "spoilt.gz"
    torn.write_bytes(torn_captures(tmp_path)["a line"])
    whole = (tmp_path / "whole.gz").read_bytes()
    spoilt.write_bytes(whole + gzip.compress(b"x" * 17_000_000, 1))
    with serving(certificates, tmp_path / "data") as (_, urls):
        how = ["--answer-url", urls["answer"], "--fast", "--ca", str(certificates.ca)]
        assert main(["replay", str(torn), *how, "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert main(["replay", str(spoilt), *how]) == 2
    assert (report["verdict"], report["skipped_lines"], report["last_at"]) == ("partial", 1, 0.9)
    assert (report["sent"], report["ended"], report["complete"]) == (10, False, False)
    assert "it has a line of more than" in capsys.readouterr().err


async def test_subprotocols_are_proposed_as_they_were_and_a_refusal_is_told(
    tmp_path: Path,
) -> None:
    path = capture(tmp_path / "a.gz", SAID, subprotocols=("audio.jambonz.org",))
    receiver = Receiver(refuse=403)
    report = await play(path, receiver, speed=None)
    assert receiver.proposed == "audio.jambonz.org"
    assert "refused it" in report.fault and "403" in report.fault
    assert "a-token-of-theirs" not in str(report)


async def test_full_speed_waits_for_a_receiver_that_is_behind(tmp_path: Path) -> None:
    said: list[Record] = [Message(0.0, "platform", f"{n}") for n in range(300)]
    path = capture(tmp_path / "a.gz", said)
    receiver = Receiver()
    pings: list[int] = []
    plain = MediaSocket.ping

    async def ping(self: MediaSocket) -> float:
        pings.append(len(receiver.heard))
        return await plain(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MediaSocket, "ping", ping)
        report = await play(path, receiver, speed=None)
    assert report.fault is None and len(pings) == 300 // 64
    assert all(after - before >= 63 for before, after in zip(pings, pings[1:], strict=False))


async def test_a_receiver_that_answers_no_ping_fails_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ping(self: MediaSocket) -> float:
        await trio.lowlevel.checkpoint()
        raise PongTimeout("no answer to a ping within 1 s")

    monkeypatch.setattr(MediaSocket, "ping", ping)
    said: list[Record] = [Message(0.0, "platform", f"{n}") for n in range(100)]
    report = await play(capture(tmp_path / "a.gz", said), Receiver(), speed=None)
    assert report.fault == "no answer to a ping within 1 s"


def test_nobody_there_is_a_failure_with_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(tmp_path / "a.gz", SAID))
    assert main(["replay", path, "--to", "wss://127.0.0.1:9/stream/x"]) == 1
    assert "could not be opened" in capsys.readouterr().out
    assert main(["replay", path, "--answer-url", "https://127.0.0.1:9/answer", "--json"]) == 1
    assert "answer cannot be had" in json.loads(capsys.readouterr().out)["fault"]


def test_an_answer_without_a_stream_is_a_failure(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(tmp_path / "a.gz", SAID))
    with serving(certificates, tmp_path / "data") as (_, urls):
        trust = ["--ca", str(certificates.ca)]
        for url, why in ((urls["base"] + "/nowhere", "status 404"), (urls["health"], "start_stre")):
            method = ["--answer-method", "GET", "--call-id", "call_7"]
            assert main(["replay", path, "--answer-url", url, *method, *trust]) == 1
            assert why in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--to", "wss://h/s", "--answer-url", "https://h/a"],
        ["--to", "wss://h/s", "--fast", "--speed", "2"],
        ["--to", "wss://h/s", "--speed", "0"],
        ["--to", "wss://h/s", "--speed", "x"],
    ],
)
def test_bad_usage_is_told(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["replay", "file", *options])
    assert exit.value.code == 2 and "usage:" in capsys.readouterr().err


def test_a_url_that_is_no_stream_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "file", "--to", "https://h/s"]) == 2
    assert "wss://host/path" in capsys.readouterr().err
