"""The benchmarks run and write what they found. What they find is no matter of tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from benchmarks.figures import Histogram, median, spread
from benchmarks.peers.meter import Meter
from benchmarks.script import stamp, write_script

ROOT = Path(__file__).parent.parent
BENCHMARKS = ("capacity", "handshakes", "isolation", "pacing", "receive", "scaling")
SMALL = ["--seconds", "0.4", "--repeat", "1"]


def run(name: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )


def found(name: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """The runs that a small measurement writes; it names its machine, and prints a table."""
    output = folder / "new" / "found.json"
    printed = run(name, *SMALL, "--output", str(output), *options).stdout
    document = json.loads(output.read_text("utf-8"))
    assert document["machine"]["trio"] and document["measured"]["seconds"] == 0.4
    runs = document["runs"]
    assert isinstance(runs, list) and len(printed.splitlines()) > 1
    return runs


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_explains_itself(name: str) -> None:
    assert f"python -m benchmarks.{name}" in run(name, "--help").stdout


def test_servers_are_compared_in_both_regimes_and_lose_nothing(tmp_path: Path) -> None:
    servers = "minivoice_server,trio_websocket_server"
    options = f"--streams 2 --saturated 2 --transports tls --servers {servers}"
    runs = found("receive", tmp_path, *options.split())
    assert [(one["server"], one["regime"]) for one in runs] == [
        ("minivoice_ref", "real time"),
        ("trio-websocket", "real time"),
        ("minivoice_ref", "saturated"),
        ("trio-websocket", "saturated"),
    ]
    for one in runs:
        assert one["messages"] == (2 * 2 * 20 if one["regime"] == "real time" else 2 * 2 * 200)
        assert one["lost"] == 0 and one["cpu_us"] > 0 and one["lag_p99_ms"] > 0


def test_a_server_that_is_not_here_is_named_and_left_out(tmp_path: Path) -> None:
    options = ["--servers", "ws_server.js", "--output", str(tmp_path / "found.json")]
    said = run("receive", *options, PATH=str(tmp_path)).stderr
    assert "Node.js ws is left out: there is no node here" in said


def test_capacity_stops_at_the_most_that_it_may_try(tmp_path: Path) -> None:
    runs = found("capacity", tmp_path, "--first", "2", "--most", "3")
    assert [one["streams"] for one in runs] == [2, 3]


def test_answers_and_webhooks_are_timed_beside_streams(tmp_path: Path) -> None:
    runs = found("isolation", tmp_path, "--capacity", "4", "--loads", "0,50")
    assert [one["streams"] for one in runs] == [0, 2]
    assert all(one["answer_p50"] > 0 and one["webhook_p50"] > 0 for one in runs)


def test_handshakes_are_counted_with_and_without_tls(tmp_path: Path) -> None:
    runs = found("handshakes", tmp_path, "--at-once", "2")
    assert [one["kind"] for one in runs] == ["tls", "resumed", "plain"]
    assert all(one["streams"] > 0 for one in runs)


def test_silent_streams_are_open_beside_those_that_speak(tmp_path: Path) -> None:
    runs = found("scaling", tmp_path, "--totals", "1,4", "--speaking", "2")
    assert [(one["streams"], one["idle"], one["messages"]) for one in runs] == [
        (1, 0, 40),
        (2, 2, 80),
    ]


def test_a_stamped_frame_is_a_good_message_that_says_when_it_was_sent() -> None:
    server = Connection(ConnectionType.SERVER)
    for line, track in zip(write_script(3).ticks[2], ("inbound", "outbound"), strict=True):
        server.receive_data(stamp(line, 1234.5))
        (event,) = server.events()
        assert isinstance(event, TextMessage) and event.message_finished
        media = json.loads(event.data)["media"]
        assert (media["track"], media["timestamp"]) == (track, "40")
        assert media["payload"].startswith("QJNKAAAAAAD/")  # 1234.5, and 0xff


def test_a_percentile_is_what_so_many_do_not_exceed() -> None:
    histogram = Histogram()
    for milliseconds in range(1, 101):
        histogram.add(milliseconds / 1000 - 1e-6)
    again = Histogram(histogram.pairs())
    assert (again.count, again.percentile(50), again.percentile(99)) == (100, 50.0, 99.0)
    assert Histogram().percentile(50) == 0


def test_durations_outside_of_a_histogram_count_at_its_ends() -> None:
    histogram = Histogram()
    histogram.add(-1)
    histogram.add(60)
    assert (histogram.percentile(50), histogram.percentile(100)) == (0.02, 10000.02)


def test_a_spread_is_a_median_with_its_range() -> None:
    assert (median([3, 1, 2]), median([4, 1, 2, 3])) == (2, 2.5)
    assert (spread([1.25]), spread([3, 1, 2], 2)) == ("1.2", "2.00 (1.00–3.00)")


def test_frames_without_a_stamp_are_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    try:
        meter = Meter()
        meter.take(bytes(160))
        meter.take(b"\x3f\xf0" + bytes(158))  # one second after the clock began
        signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    said = json.loads(capsys.readouterr().out)
    assert sum(count for _, count in said["lag"]) == 1
