"""`serve --console` and `demo --open`: the console by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from minivoice_ref.certificates import make_certificates


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "minivoice_ref", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environ},
    )


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_serve_console_serves_the_page_at_the_url_that_it_prints(tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "certificates")
    with start(
        *("serve", "--json", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")),
        *("--tls-cert", str(files.cert), "--tls-key", str(files.key)),
        *("--console", "--console-listen", "127.0.0.1:0", "--console-test-calls"),
    ) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())["urls"]
        assert "MiniVoice console" in page(urls["console"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.fixture
def browser(tmp_path: Path) -> str:
    """A browser that writes down what it was to open."""
    path = tmp_path / "browser"
    path.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    path.chmod(0o755)
    return f"{path} %s"


def opened(tmp_path: Path) -> str:
    return (tmp_path / "opened").read_text().strip()


def test_demo_open_opens_the_console_and_stays_until_it_is_told_to_end(
    tmp_path: Path, browser: str
) -> None:
    data = str(tmp_path / "data")
    with start("demo", "--open", "--speak", "1", "--data", data, BROWSER=browser) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        url = opened(tmp_path)
        assert "MiniVoice console" in page(url)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    said = "".join(lines)
    assert url in said and "PASS" in said


def test_demo_open_with_json_prints_one_object_and_stays(tmp_path: Path, browser: str) -> None:
    options = ("--speak", "1", "--cut-stream-after", "0.5", "--data", str(tmp_path / "data"))
    with start("demo", "--open", "--json", *options, BROWSER=browser) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        assert json.loads("".join(lines))["verdict"] == "pass"
        assert "MiniVoice console" in page(opened(tmp_path))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
