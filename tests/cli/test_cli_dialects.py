"""`--dialect`, the same for every command that places calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minivoice_ref.cli import main
from minivoice_ref.protocol.dialects.detect import DIALECTS


@pytest.mark.parametrize("command", ["call", "demo", "load"])
def test_the_help_names_every_dialect(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"(default twilio): {', '.join(DIALECTS)}" in said


@pytest.mark.parametrize("command", ["call", "demo", "load"])
def test_a_wrong_name_is_answered_with_the_nearest_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--dialect", "Jambons"])
    assert exit.value.code == 2
    assert "'Jambons' is not a dialect; did you mean jambonz?" in capsys.readouterr().err


def test_the_demo_receives_what_a_dialect_without_stream_ids_sends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["demo", "--dialect", "vonage", "--speak", "0.5", "--json", "--data", f"{tmp_path}"]
    )
    report = json.loads(capsys.readouterr().out)
    assert code == 0 and report["verdict"] == "pass"
    (stream,) = report["streams"]
    assert stream["received"] == stream["sent"] and list(stream["sent"]) == ["mixed"]
    assert "all of it received and recorded" in report["steps"][3]["detail"]
