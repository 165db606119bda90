"""`serve` and `call` as two processes, as an operator runs them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minivoice_ref.certificates import make_certificates
from minivoice_ref.cli import main

MODULE = [sys.executable, "-m", "minivoice_ref"]


@contextmanager
def serving(*options: str, environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A receiver in a process of its own, and the first line that it prints."""
    command = [*MODULE, "serve", "--listen", "127.0.0.1:0", *options]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_a_call_at_a_served_receiver_passes_and_sigterm_drains_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_certificates(tmp_path / "certs")
    secret = tmp_path / "secret"
    secret.write_text("a-secret-in-a-file\n")
    options = ["--tls-cert", str(files.cert), "--tls-key", str(files.key), "--json"]
    options += ["--data", str(tmp_path / "data"), "--record"]
    environ = {"MINIVOICE_WEBHOOK_SECRET_FILE": str(secret)}
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET", "a-secret-in-a-file")
    with serving(*options, environ=environ) as (process, line):
        urls = json.loads(line)["urls"]
        call = ["call", "--answer-url", urls["answer"], "--webhook-url", urls["webhooks"]]
        call += ["--ca", str(files.ca), "--speak", "0.5"]
        assert main(call) == 0
        printed = capsys.readouterr().out
        assert "PASS" in printed and "a-secret-in-a-file" not in printed
        assert main(["check", urls["answer"], "--ca", str(files.ca)]) == 0
        assert main(["check", urls["health"] + "/nowhere", "--ca", str(files.ca)]) == 1
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
    assert "streams" in errors and "webhooks" in errors
    assert len(list((tmp_path / "data" / "recordings").glob("*.wav"))) == 1


def test_behind_a_proxy_the_urls_for_the_platform_are_printed_too(tmp_path: Path) -> None:
    options = ["--plain", "--data", str(tmp_path), "--public-url", "https://voice.example.com/a/"]
    with serving(*options, environ={}) as (process, line):
        assert line.startswith("base      http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        printed = process.stdout.read()
    assert printed.endswith(
        "\nWhat the platform is given (public_url):\n"
        "answer    https://voice.example.com/a/answer\n"
        "webhooks  https://voice.example.com/a/webhooks\n"
        "stream    wss://voice.example.com/a/stream\n"
    )


def test_a_plain_receiver_prints_its_urls_for_people(tmp_path: Path) -> None:
    with serving("--plain", "--data", str(tmp_path), environ={}) as (process, line):
        assert line.startswith("base      http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_settings_that_cannot_work_are_all_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINIVOICE_TRACK", "speaker")
    assert main(["serve", "--listen", "here", "--data", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "listen" in errors and "tls_cert" in errors and "track" in errors
    config = tmp_path / "wrong.toml"
    config.write_text("lisen = 'x'\n")
    assert main(["serve", "--config", str(config)]) == 2
    assert "did you mean listen" in capsys.readouterr().err


def test_an_interrupted_command_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("minivoice_ref.commands.common.trio.run", interrupt)
    assert main(["serve", "--plain", "--listen", "127.0.0.1:0"]) == 130


def test_an_address_that_is_taken_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["serve", "--plain", "--listen", address, "--data", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert address in errors and "Traceback" not in errors


def test_a_certificate_that_is_none_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    options = ["--tls-cert", str(nothing), "--tls-key", str(nothing), "--data", str(tmp_path)]
    assert main(["serve", "--listen", "127.0.0.1:0", *options]) == 2
    assert "nothing.pem" in capsys.readouterr().err


def test_other_machines_are_served_with_tls_and_a_secret_or_only_when_told_insecure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--listen", "0.0.0.0:0", "--plain", "--data", str(tmp_path / "data")]
    assert main(["serve", *options]) == 2
    errors = capsys.readouterr().err
    assert "without TLS" in errors and "webhook_secret" in errors and "insecure" in errors
    assert not (tmp_path / "data").exists()
    with serving(*options, "--insecure", environ={}) as (process, line):
        assert line.startswith("base      http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
