"""`--fault` and `--seed`: listed, read, refused when wrong, and felt in the verdict."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from minivoice_ref.cli import main
from minivoice_ref.commands.faults import add_faults, read_faults
from minivoice_ref.simulator.faults import FAULTS, parse_fault


@pytest.mark.parametrize("command", ["call", "demo"])
def test_the_list_of_faults_needs_no_other_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--fault", "list"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("=")[0].split()[0] for line in lines] == list(FAULTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cutt=1", "did you mean cut?"),
        ("cut=soon", "'soon' is not a number"),
        ("lose=200", "to 90"),
    ],
)
def test_a_wrong_fault_is_bad_usage_and_says_what_would_be_right(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--fault", text])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed and "--fault list" in printed


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_faults(made)
    return made


def test_faults_are_kept_in_the_order_of_the_command_line() -> None:
    command = ["--fault", "lose=1", "--fault", "cut", "--seed", "3", "--fault", "lose=2"]
    arguments = parser().parse_args(command)
    assert read_faults(arguments) == tuple(map(parse_fault, ("lose=1", "cut", "lose=2")))
    assert arguments.seed == 3 and parser().parse_args([]).seed is None
    assert read_faults(parser().parse_args([])) == ()
    # Not kept from one command line to the next.
    assert read_faults(parser().parse_args(["--fault", "cut=2"])) == (parse_fault("cut=2"),)


def test_a_forged_webhook_without_a_secret_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MINIVOICE_WEBHOOK_SECRET", raising=False)
    url = "https://localhost:1/answer"
    assert main(["call", "--answer-url", url, "--fault", "wrong-signature"]) == 2
    assert "needs a webhook_secret" in capsys.readouterr().err


def test_the_demo_shows_a_fault_and_what_became_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--speak", "1.5", "--data", str(tmp_path), "--json", "--seed", "1"]
    code = main([*command, "--fault", "wrong-token", "--fault", "wrong-signature"])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["verdict"]) == (0, "pass"), document
    assert [finding["ok"] for finding in document["findings"]] == [True] * 3
    steps = {step["name"]: step["detail"] for step in document["steps"]}
    assert steps["receiver_accepted"] == "refused, as it should be, with 403"
