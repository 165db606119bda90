"""remote_transcription.py: words of a call in a process that has only Redis in common with it.

A real redis-server, a receiver with --publish-media, the example, and a test call.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from examples_lab import EXAMPLES, load

from benchmarks.transcription import errors, said, spoken
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.cli import main

needs_both = pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None or shutil.which("redis-server") is None,
    reason="the extra `transcribe` or redis-server is not installed",
)


@contextmanager
def program(
    *command: str, cwd: Path, into: int = subprocess.PIPE, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ours for a block; it prints *into* a file, and is ended as by Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **environ},
        stdout=into,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A redis-server for a block; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "Ready to accept connections" in line:
                    break
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()


@contextmanager
def receiver(files: Certificates, redis: str, cwd: Path) -> Iterator[str]:
    """A receiver that hands its audio on, for a block; its answer_url."""
    serve = f"-m minivoice_ref serve --listen 127.0.0.1:0 --cluster {redis} --publish-media"
    serve += f" --tls-cert {files.cert} --tls-key {files.key}"
    with program(*serve.split(), cwd=cwd, MINIVOICE_TOKEN_KEY="the key of this test") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("answer "):
                break
        yield line.split()[1]


@contextmanager
def copies(count: int, url: str, cwd: Path) -> Iterator[Callable[[str], str]]:
    """So many copies of the example; gives what reads on in what they print, up to a text.

    After two minutes it reads no more.
    """
    output, into = os.pipe()
    with ExitStack() as stack:
        printed = stack.enter_context(os.fdopen(output, encoding="utf-8"))
        example = str(EXAMPLES / "remote_transcription.py")
        running = [
            stack.enter_context(program(example, url, cwd=cwd, into=into)) for _ in range(count)
        ]
        os.close(into)

        def end() -> None:
            for process in running:
                process.kill()

        alarm = threading.Timer(120, end)
        alarm.start()
        stack.callback(alarm.cancel)

        def read_on(text: str) -> str:
            told = ""
            while text not in told and (line := printed.readline()):
                told += line
            return told

        for _ in running:
            assert read_on("following up to ")
        yield read_on
        for process in running:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


@needs_both
def test_the_words_of_a_call_come_out_on_another_machine_once(tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "certs")
    with (
        redis(tmp_path) as url,
        receiver(files, url, tmp_path) as answer_url,
        copies(2, url, tmp_path) as read_on,
    ):
        call = ["call", "--ca", str(files.ca), "--answer-url", answer_url, "--speak", "8.6"]
        call += ["--webhook-url", answer_url.replace("/answer", "/webhooks")]
        assert main(call) == 0
        told = read_on("samples were dropped")
    assert told.count("taken over from") == 1 and "; 0 samples were dropped" in told, told
    whole = re.findall(r"s  (caller|agent) +(.+)  \(lag ([\d.]+) s, ([\d.]+) s of it on", told)
    for party, beginning in (("agent", 10), ("caller", 12)):
        wanted = said()[party][:beginning]
        got = [word for who, text, *_ in whole if who == party for word in spoken(text)]
        # How the audio is cut into steps is up to the timing, which a recogniser may hear.
        assert errors(wanted, got[:beginning]) <= 3, told
    assert all(float(way) < 2 for *_, way in whole), told


def test_who_calls_it_without_a_redis_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "remote_transcription.py")], capture_output=True, text=True
    )
    assert done.returncode == 1 and "redis://HOST" in done.stderr
    assert load("remote_transcription").GROUP == "transcription"
