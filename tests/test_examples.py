"""The examples run, as their first line says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minivoice_ref.certificates import make_certificates
from minivoice_ref.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_embedded_receiver_hears_the_caller_and_ends_with_the_call(tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "certs")
    command = [sys.executable, str(EXAMPLES / "embedded.py"), str(files.cert), str(files.key), "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        answer_url = process.stdout.readline().split()[1]
        webhooks = answer_url.replace("/answer", "/webhooks")
        call = ["call", "--ca", str(files.ca), "--answer-url", answer_url]
        assert main([*call, "--webhook-url", webhooks, "--speak", "5"]) == 0
        printed, logged = process.communicate(timeout=20)
    assert process.returncode == 0, logged
    assert re.search(r"switchboard: calls: \{'call_\S+': 'call.answered'\}, loudest", logged)
    assert re.search(r"switchboard: call_\S+: call.completed", logged)
    assert re.search(r"minivoice_ref\.streams: open ", logged)
    loudest = int(printed.rpartition("'inbound': ")[2].rstrip("}\n"))
    assert loudest > 4000


def test_the_embedded_receiver_calls_itself_without_a_certificate(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "embedded.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert re.search(r"switchboard: call call_\S+: PASS", done.stderr)
    assert int(done.stdout.rpartition("'inbound': ")[2].rstrip("}\n")) > 4000


def test_the_first_line_of_each_example_is_the_command_that_runs_it() -> None:
    for path in EXAMPLES.glob("*.py"):
        first = path.read_text("utf-8").splitlines()[0]
        assert first.startswith(f'"""python examples/{path.name}'), path
        assert len((ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split()) > 60


def test_the_conformant_application_leaves_no_scenario_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that no other answer of ours makes applicable; all of them are tried in tests/whole."""
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET", "the-secret-of-this-test")
    files = make_certificates(tmp_path / "certs")
    command = [sys.executable, str(EXAMPLES / "conformant.py"), str(files.cert), str(files.key)]
    with subprocess.Popen(
        [*command, "0"], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ
    ) as process:
        assert process.stdout is not None
        answer_url = process.stdout.readline().split()[1]
        webhooks = answer_url.replace("/answer", "/webhooks")
        suite = f"conformance --ca {files.ca} --answer-url {answer_url} --webhook-url {webhooks}"
        suite += " --speak 1.2"
        names = ("track-inbound", "track-outbound", "form-keyed", "redirect-then-stop")
        only = [f"--only={name}" for name in (*names, "stop-keeps-call", "unsigned-webhooks")]
        code = main([*suite.split(), *only])
        process.terminate()
    assert process.returncode == 0
    assert code == 0 and "PASS: 6 passed, 0 failed, 0 not applicable" in capsys.readouterr().out
