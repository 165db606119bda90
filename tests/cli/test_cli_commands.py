"""The command line: what it prints, for people and as JSON, and its exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minivoice_ref.cli import main

GOOD_URL = "wss://media.example.com/minivoice"


def write(tmp_path: Path, *actions: object) -> str:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"actions": actions}))
    return str(path)


@pytest.mark.parametrize("kind", ["start_stream", "stop_stream"])
@pytest.mark.documents("validated-first", "good-lists")
def test_the_documented_good_lists_pass_the_check(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = write(tmp_path, {"type": kind, "stream_url": GOOD_URL, "track": "both"})
    assert main(["check", answer]) == 0
    assert "stream action accepted by the call flow" in capsys.readouterr().out
    assert main(["check", answer, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "valid": True,
        "problems": [],
        "warnings": [],
        "result": "stream action accepted by the call flow",
    }


@pytest.mark.documents("bad-list")
def test_the_documented_bad_list_has_two_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {
        "type": "start_stream",
        "stream_url": "https://media.example.com/minivoice",
        "track": "speaker",
    }
    answer = write(tmp_path, bad)
    assert main(["check", answer, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is False and document["result"] is None
    assert [problem["path"] for problem in document["problems"]] == [
        "actions[0].stream_url",
        "actions[0].track",
    ]
    assert all(problem["message"] and problem["mend"] for problem in document["problems"])
    assert main(["check", answer]) == 1
    printed = capsys.readouterr().out
    assert "actions[0].track" in printed and "mend:" in printed and "2 problems" in printed


def test_an_answer_without_stream_actions_is_just_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", write(tmp_path, {"hold": {}})]) == 0
    assert capsys.readouterr().out == "valid\n"


def test_the_check_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = io.BytesIO(b'{"actions": [')
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=body))
    assert main(["check", "-", "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["path"] == ""


def test_a_file_that_is_not_there_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no-such-file.json"]) == 2
    assert "no-such-file.json cannot be read" in capsys.readouterr().err


def test_an_answer_url_that_nobody_serves_is_not_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "https://127.0.0.1:9/answer"]) == 1
    assert "cannot be had" in capsys.readouterr().out


def test_certificates_are_made_once_and_the_key_is_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "certs"
    assert main(["cert", str(folder), "--name", "media.example.com", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert Path(files["key"]).stat().st_mode & 0o777 == 0o600
    assert main(["cert", str(folder)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["cert", str(tmp_path / "more")]) == 0
    assert "--tls-cert" in capsys.readouterr().out
    assert main(["cert", str(tmp_path / "bad"), "--name", "not a name"]) == 2
    (tmp_path / "file").touch()
    assert main(["cert", str(tmp_path / "file")]) == 2


def test_without_the_extra_the_mend_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    assert main(["cert", str(tmp_path / "certs")]) == 2
    assert "pip install 'minivoice-ref[demo]'" in capsys.readouterr().err


@pytest.mark.documents("the-test-to-pass")
def test_the_demo_passes_and_its_json_has_what_both_ends_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--speak", "1", "--data", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "pass" and report["call_id"].startswith("call_")
    assert [step["name"] for step in report["steps"]] == [
        "answer_valid",
        "url_is_wss",
        "receiver_accepted",
        "media_flowed",
        "stream_closed",
        "call_completed",
    ]
    (stream,) = report["streams"]
    assert stream["sent"] == stream["received"] and set(stream["sent"]) == {"inbound", "outbound"}
    assert stream["sent"]["inbound"]["samples"] == 160 * stream["sent"]["inbound"]["frames"] > 0
    assert stream["close_code"] == 1000 and Path(stream["recording"]).is_file()
    assert "…" in stream["stream_url"]
    assert [hook["event"] for hook in report["webhooks"]] == [
        "call.created",
        "call.answered",
        "call.completed",
    ]
    assert all(hook["attempts"] == 1 and hook["status"] == 200 for hook in report["webhooks"])


@pytest.mark.documents("stream-fails-call-goes-on", "the-test-to-pass")
def test_the_demo_with_a_cut_stream_passes_and_the_verdict_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--speak", "1.5", "--cut-stream-after", "0.5", "--track", "inbound"]
    assert main(["demo", *options, "--data", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "PASS" in printed and "as asked; the call went on" in printed
    assert "call.completed was acknowledged with 200" in printed
    assert "webhooks.jsonl" in printed and ".wav" in printed


def test_a_cut_after_the_end_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--speak", "1", "--cut-stream-after", "2"]) == 2
    assert "comes after the end of the call" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["dance"],
        ["demo", "--speak", "-1"],
        ["demo", "--speak", "soon"],
        ["demo", "--track", "speaker"],
        ["call"],
    ],
)
def test_bad_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "serve", "call", "check", "cert"])
def test_every_command_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0
    printed = capsys.readouterr().out
    assert f"minivoice-ref {command}" in printed and "--json" in printed


def test_a_call_at_nobody_fails_with_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "--answer-url", "https://127.0.0.1:9/answer", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "fail" and report["steps"][0]["ok"] is False


def test_the_module_runs_as_the_script_does() -> None:
    command = [sys.executable, "-m", "minivoice_ref", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("minivoice-ref ")
