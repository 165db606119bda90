"""`--dialect` and `--media-format`, the same for every command that places calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minivoice_ref.cli import main
from minivoice_ref.protocol.dialects.detect import encoders

COMMANDS = ["call", "conformance", "demo", "load"]
URL = ["--answer-url", "https://127.0.0.1:9/answer"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_names_every_dialect(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"(default twilio): {', '.join(encoders())}" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_name_is_answered_with_the_nearest_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--dialect", "Jambons"])
    assert exit.value.code == 2
    assert "'Jambons' is not a dialect; did you mean jambonz?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([command, "--dialect", "qqq"])
    assert "'qqq' is not a dialect; choose one of: raw, twilio" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", ["", "mulaw", "opus/8000", "mulaw/8000/3", "l16le/x"])
def test_what_is_no_format_is_bad_usage(
    command: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--media-format", text])
    assert exit.value.code == 2
    assert f"{text!r} is no format; write for example mulaw/8000" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_format_that_the_dialect_does_not_carry_is_answered_with_those_that_it_does(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if command == "demo" else URL
    assert main([command, "--dialect", "plivo", "--media-format", "alaw/8000", *more]) == 2
    said = capsys.readouterr().err
    assert "plivo does not carry alaw/8000/1" in said
    assert "choose one of: mulaw/8000/1, l16le/8000/1, l16le/16000/1" in said


@pytest.mark.parametrize(
    "wire",
    [
        ["--dialect", "vonage"],
        ["--dialect", "asterisk-text", "--media-format", "l16le/16000"],
        ["--dialect", "raw", "--media-format", "alaw/8000/1"],
    ],
)
def test_the_demo_receives_what_a_dialect_without_stream_ids_sends(
    wire: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["demo", *wire, "--speak", "0.5", "--json", "--data", f"{tmp_path}"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0 and report["verdict"] == "pass"
    (stream,) = report["streams"]
    assert stream["received"] == stream["sent"] and list(stream["sent"]) == ["mixed"]
    assert "all of it received and recorded" in report["steps"][3]["detail"]
