"""`minivoice-ref load` as people run it: a process, real sockets, TLS, a terminal, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.cli import main

MODULE = [sys.executable, "-m", "minivoice_ref"]

# What would take a minute. However busy the machine is, goodbyes have the time that they take.
LONG = ["--calls", "50", "--rate", "20", "--speak", "60", "--close-within", "8"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certs"))


@contextmanager
def receiving(files: Certificates, data: Path) -> Iterator[list[str]]:
    """Our own receiver in a process of its own; yields the options of a load against it."""
    options = ["--tls-cert", str(files.cert), "--tls-key", str(files.key), "--data", str(data)]
    process = subprocess.Popen(
        [*MODULE, "serve", "--listen", "127.0.0.1:0", *options, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())["urls"]
        options = ["--answer-url", urls["answer"], "--webhook-url", urls["webhooks"]]
        yield ["load", *options, "--ca", str(files.ca)]
    finally:
        process.kill()
        process.communicate()


def webhooks(data: Path) -> list[str]:
    """The events that the receiver accepted."""
    lines = (data / "webhooks.jsonl").read_text("utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    return [line["event"] for line in logged if line["what"] == "accepted"]


def test_a_small_load_on_our_own_receiver_passes_over_tls(
    files: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiving(files, tmp_path) as load:
        assert main([*load, "--calls", "6", "--rate", "6", "--speak", "1", "--json"]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        report: dict[str, Any] = json.loads(printed.out)
        assert report["verdict"] == "pass" and report["failures"] == []
        counts = ("asked", "answered", "completed", "passed")
        assert [report["calls"][name] for name in counts] == [6] * 4
        assert report["frames"]["sent"] == report["frames"]["due"] > 6 * 40
        assert report["frames"]["lateness"]["count"] == report["frames"]["sent"]
        assert report["latency"]["webhook_acknowledgement"]["count"] == 18
        assert isinstance(report["simulator"]["kept_time"], bool)

        faults = ["--fault", "wrong-token", "--faults-on", "50"]
        assert main([*load, "--calls", "2", "--rate", "9", "--speak", "0.5", *faults]) == 0
        printed = capsys.readouterr()
        assert "PASS" in printed.out and "1 with a fault injected" in printed.out


def start(load: list[str], terminal: int | None = None) -> subprocess.Popen[str]:
    """A load of 50 calls that would take a minute, in a process of its own."""
    return subprocess.Popen(
        [*MODULE, *load, *LONG, "--json"],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if terminal is None else terminal,
        text=True,
    )


def wait_for_streams(data: Path, count: int) -> None:
    """Follow the receiver's log until *count* streams have audio; the test's deadline is real."""
    log = subprocess.Popen(
        ["tail", "-n", "+1", "-F", str(data / "streams.jsonl")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert log.stdout is not None
        heard = set[str]()
        while len(heard) < count:
            line = json.loads(log.stdout.readline())
            if line["what"] == "first_media":
                heard.add(line["stream_id"])
    finally:
        log.kill()
        log.communicate()


def test_ctrl_c_ends_the_calls_properly_and_prints_what_was_measured(
    files: Certificates, tmp_path: Path
) -> None:
    with receiving(files, tmp_path) as options:
        load = start(options)
        wait_for_streams(tmp_path, 3)
        load.send_signal(signal.SIGINT)
        out, errors = load.communicate(timeout=20)
        report = json.loads(out)
        assert load.returncode == 130, errors
        assert "ending the calls" in errors
    assert report["ended_early"] is True and report["failures"] == []
    asked = report["calls"]["asked"]
    assert 3 <= asked <= 50
    assert report["calls"]["passed"] + report["calls"]["interrupted"] == asked
    assert report["frames"]["sent"] > 0
    assert webhooks(tmp_path).count("call.completed") >= report["calls"]["passed"] >= 3


def test_the_second_ctrl_c_ends_at_once(files: Certificates, tmp_path: Path) -> None:
    with receiving(files, tmp_path) as options:
        load = start(options)
        wait_for_streams(tmp_path, 3)
        load.send_signal(signal.SIGINT)
        assert load.stderr is not None and load.stderr.readline() == "\n"
        assert "once more to end at once" in load.stderr.readline()
        load.send_signal(signal.SIGINT)
        load.communicate(timeout=20)
        assert load.returncode in (-signal.SIGINT, 0)  # 0: all calls had ended by then


def test_on_a_terminal_one_line_is_drawn_over_itself(files: Certificates, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with receiving(files, tmp_path) as options:
        load = start(options, theirs)
        os.close(theirs)
        shown = ""
        while "frames/s" not in shown:
            shown += os.read(ours, 4096).decode()
        load.send_signal(signal.SIGTERM)
        while "ending the calls" not in shown:
            shown += os.read(ours, 4096).decode()
        out, _ = load.communicate(timeout=20)
    os.close(ours)
    assert load.returncode == 130 and json.loads(out)["ended_early"] is True
    lines = [line for line in shown.split("\r") if "frames/s" in line]
    assert all(line.partition("\x1b[K")[0].isprintable() for line in lines)
    assert "ringing" in lines[0] and len(lines[0].partition("\x1b[K")[0]) < 100


def test_a_signal_ends_a_load_within_this_process_too(
    files: Certificates,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And leaves the handlers of the signals as they were."""
    ours, theirs = pty.openpty()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with receiving(files, tmp_path) as options, open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)

        def interrupt() -> None:
            shown = ""
            while not re.search(r"[1-9]\d* frames/s", shown):  # else there is nothing to judge
                shown += os.read(ours, 4096).decode()
            os.kill(os.getpid(), signal.SIGINT)

        watcher = threading.Thread(target=interrupt)
        watcher.start()
        assert main([*options, *LONG]) == 130
        watcher.join()
    os.close(ours)
    assert "ended early (50 were planned): PASS" in capfd.readouterr().out
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_load_at_nobody_fails_and_says_why_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--answer-url", "https://127.0.0.1:9/answer", "--calls", "3", "--rate", "50"]
    assert main(["load", *options]) == 1
    printed = capsys.readouterr().out
    assert "     3  answer_valid:" in printed and "connect" in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--calls", "0"], "calls"),
        (["--rate", "-1"], "rate"),
        (["--faults-on", "120"], "faults_on"),
        (["--faults-on", "40"], "no faults to have"),
        (["--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
    ],
)
def test_a_load_that_cannot_be_exits_with_2(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load", "--answer-url", "https://localhost/answer", *options]) == 2
    assert said in capsys.readouterr().err
