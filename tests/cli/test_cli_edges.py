"""Where the command line meets the world: closed pipes, plain terminals, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minivoice_ref.cli import main
from minivoice_ref.config import Config
from minivoice_ref.receiver.intake import Intake

MODULE = [sys.executable, "-m", "minivoice_ref"]


def test_the_verdict_fails_where_audio_is_lost_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Intake, "_media", lambda self, media: None)
    assert main(["demo", "--speak", "0.5", "--data", str(tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (flowed,) = [step for step in report["steps"] if step["name"] == "media_flowed"]
    assert report["verdict"] == "fail" and not flowed["ok"]
    assert "inbound samples 0 were received" in flowed["detail"]
    assert report["streams"][0]["received"]["outbound"] == {"frames": 0, "samples": 0}


def test_the_verdict_fails_where_nothing_could_be_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recordings").write_text("a file where a folder belongs")
    assert main(["demo", "--speak", "0.5", "--data", str(tmp_path)]) == 1
    assert "the recording was not written" in capsys.readouterr().out


def test_the_demo_leaves_the_events_that_wait_in_its_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--speak", "0.3", "--data", str(tmp_path), "--json"]) == 0
    assert not list(tmp_path.glob("inbox*")) and capsys.readouterr().out


def test_a_reader_that_leaves_does_not_break_the_call(tmp_path: Path) -> None:
    command = [*MODULE, "demo", "--speak", "0.5", "--data", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 141 and "Traceback" not in errors
    account = (tmp_path / "streams.jsonl").read_text().splitlines()[-1]
    assert json.loads(account)["what"] == "account"


def test_a_terminal_without_unicode_still_gets_its_lines(tmp_path: Path) -> None:
    command = [*MODULE, "demo", "--speak", "0.3", "--data", str(tmp_path)]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stderr


def test_a_terminated_demo_leaves_no_private_key_behind(tmp_path: Path) -> None:
    command = [*MODULE, "demo", "--speak", "30", "--data", str(tmp_path / "data")]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(tmp_path.glob("minivoice-*/key.pem"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143
    assert not list(tmp_path.glob("minivoice-*"))


def test_settings_of_the_receiver_do_not_stop_a_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINIVOICE_TLS_CERT", "cert.pem")
    monkeypatch.setenv("MINIVOICE_SOMETHING", "else")
    assert main(["call", "--answer-url", "https://127.0.0.1:9/answer"]) == 1
    assert "Connection refused" in capsys.readouterr().out


def test_what_a_cluster_puts_into_the_environment_is_no_setting() -> None:
    environ = {"MINIVOICE_SERVICE_HOST": "10.0.0.1", "MINIVOICE_PORT": "tcp://10.0.0.1:443"}
    assert Config.load(environ={**environ, "MINIVOICE_PORT_443_TCP": "x"}, plain=True) == Config(
        plain=True
    )


@pytest.mark.parametrize("host", ["foo..bar", "x" * 70])
def test_a_host_that_is_no_name_is_bad_usage(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["serve", "--plain", "--insecure", "--listen", f"{host}:1", "--data", str(tmp_path)])
        == 2
    )
    assert "cannot be opened" in capsys.readouterr().err
    assert main(["call", "--answer-url", f"https://{host}/answer"]) == 1


def test_one_file_that_exists_stops_certificates_before_any_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cert.pem").touch()
    assert main(["cert", str(tmp_path)]) == 2
    assert "cert.pem exists already" in capsys.readouterr().err
    assert not (tmp_path / "key.pem").exists()
