"""`call` against a small application in another framework: real sockets, real TLS, its own code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.cli import main

pytest.importorskip("aiohttp")

SECRET = "correct horse"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "certs")


@pytest.fixture
def application(certificates: Certificates) -> Iterator[subprocess.Popen[str]]:
    """The application, running; its port is the first line of its output."""
    program = Path(__file__).with_name("aiohttp_application.py")
    command = [sys.executable, str(program), str(certificates.cert), str(certificates.key), SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_call_to_an_application_in_another_framework_passes(
    application: subprocess.Popen[str],
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert application.stdout is not None
    base = f"https://localhost:{int(application.stdout.readline())}"
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET", SECRET)
    code = main(
        f"call --answer-url {base}/answer --webhook-url {base}/webhooks --digits 42 --speak 0.5"
        f" --packaged-voice --ca {certificates.ca} --json".split()
    )
    report = json.loads(capsys.readouterr().out)
    assert (code, report["verdict"]) == (0, "pass"), report
    told = [application.stdout.readline().split() for _ in range(5)]
    (stream,) = [line for line in told if line[0] == "stream"]
    sent = report["streams"][0]["sent"]
    assert stream[1:] == [str(sent["inbound"]["samples"]), str(sent["outbound"]["samples"]), "42"]
    assert [line[1:] for line in told if line[0] == "webhook"] == [
        ["call.created", "None"],
        ["call.answered", "None"],
        ["call.gathered", "42"],
        ["call.completed", "None"],
    ]
