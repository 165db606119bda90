"""The examples run, as their first line says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from minivoice_ref.certificates import make_certificates
from minivoice_ref.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_embedded_receiver_hears_the_caller_and_ends_with_the_call(tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "certs")
    command = [sys.executable, str(EXAMPLES / "embedded.py"), str(files.cert), str(files.key), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        answer_url = process.stdout.readline().split()[1]
        webhooks = answer_url.replace("/answer", "/webhooks")
        call = ["call", "--ca", str(files.ca), "--answer-url", answer_url]
        assert main([*call, "--webhook-url", webhooks, "--speak", "5"]) == 0
        printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "call.completed" in printed
    loudest = int(printed.rpartition("'inbound': ")[2].rstrip("}\n"))
    assert loudest > 4000
