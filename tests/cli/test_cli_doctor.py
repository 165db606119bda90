"""`minivoice-ref doctor` at our own receiver: real sockets, real TLS, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.cli import main

SECRET = "the-secret-of-the-doctor"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def urls(files: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of a receiver that runs as a process of its own."""
    command = [sys.executable, "-m", "minivoice_ref", "serve", "--listen", "127.0.0.1:0", "--json"]
    command += ["--tls-cert", str(files.cert), "--tls-key", str(files.key)]
    command += ["--data", str(tmp_path_factory.mktemp("data"))]
    process = subprocess.Popen(
        command,
        env={**os.environ, "MINIVOICE_WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["urls"]
    finally:
        process.terminate()
        process.communicate()


def doctor(urls: dict[str, str], files: Certificates, *more: str) -> int:
    """Run the command at the receiver; a busy machine may be slow."""
    command = ["doctor", "--answer-url", urls["answer"], "--webhook-url", urls["webhooks"]]
    return main([*command, "--ca", str(files.ca), "--fast", "5", *more])


def test_our_own_receiver_is_healthy(
    urls: dict[str, str],
    files: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET", SECRET)
    code = doctor(urls, files)
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "✗" not in printed and printed.rstrip().endswith("PASS: 16 ticks, 0 crosses, 12 dashes")
    assert doctor(urls, files, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass" and document["failed"] == 0
    assert "stream_url.wrong_token" in {check["check"] for check in document["checks"]}
    assert doctor(urls, files, "--answer-method", "GET") == 0
    assert SECRET not in printed + json.dumps(document)


def test_a_wrong_secret_is_a_cross_and_exit_code_1(
    urls: dict[str, str],
    files: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "secret").write_text("another-secret\n")
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET_FILE", str(tmp_path / "secret"))
    assert doctor(urls, files, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    (cross,) = [check for check in document["checks"] if check["outcome"] == "fail"]
    assert cross["check"] == "webhook_url.signed" and "secret" in cross["mend"]


def test_what_cannot_be_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--answer-url", "wss://example.com/"]) == 2
    assert "answer_url" in capsys.readouterr().err
    missing = str(tmp_path / "ca.pem")
    assert main(["doctor", "--answer-url", "https://localhost/", "--ca", missing]) == 2
    assert "ca.pem cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["doctor"])
    assert caught.value.code == 2
