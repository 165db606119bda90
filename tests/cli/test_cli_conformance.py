"""`minivoice-ref conformance`: its options, its output, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.cli import main
from minivoice_ref.simulator.scenarios import SCENARIOS

NOBODY = ["conformance", "--answer-url", "http://127.0.0.1:1/answer"]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "certificates")


@pytest.fixture
def receiver(tmp_path: Path, certificates: Certificates) -> Iterator[str]:
    """Where a receiver of ours listens."""
    command = [sys.executable, "-m", "minivoice_ref", "serve", "--data", str(tmp_path)]
    command += ["--tls-cert", str(certificates.cert), "--tls-key", str(certificates.key)]
    environ = {name: v for name, v in os.environ.items() if not name.startswith("MINIVOICE_")}
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ,
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "/answer" in line)
        yield line[line.index("http") :].split("/answer")[0]
        process.kill()


def test_the_list_of_scenarios_needs_no_other_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["conformance", "--list"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good-cal", "; did you mean good-call? ("),
        ("Good-Call", "; did you mean good-call? ("),
        ("track", "; did you mean track-inbound, track-outbound or track-both? ("),
        ("xyz", "'xyz' is not a scenario (`--list` shows all)"),
        ("", "'' is not a scenario (`--list` shows all)"),
    ],
)
def test_a_wrong_or_partial_scenario_is_bad_usage_and_the_near_ones_are_named(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*NOBODY, "--only", name])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_no_more_than_a_few_near_names_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*NOBODY, "--only", "e"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "did you mean" in line]
    assert line.partition("did you mean")[2].count(",") == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--jobs", "0"], "jobs"),
        (["--speak", "0.5"], "speak"),
        (["--junit", "/nowhere/at/all.xml"], "--junit /nowhere/at/all.xml: No such file"),
    ],
)
def test_what_cannot_work_is_bad_usage(
    more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*NOBODY, *more]) == 2
    assert said in capsys.readouterr().err


def test_nobody_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NOBODY, "--only", "good-call", "--only", "cut"]) == 1
    printed = capsys.readouterr()
    assert "FAIL: 0 passed, 1 failed, 1 not applicable or not tried" in printed.out
    assert "✗ good-call: answer_valid" in printed.err


def test_a_run_over_some_scenarios_is_told_as_json_and_as_junit(
    receiver: str,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MINIVOICE_WEBHOOK_SECRET", raising=False)
    junit = tmp_path / "junit.xml"
    command = ["conformance", "--answer-url", f"{receiver}/answer", "--speak", "1.2", "--json"]
    command += ["--webhook-url", f"{receiver}/webhooks", "--junit", str(junit)]
    command += ["--ca", str(certificates.ca)]
    names = ("good-call", "wrong-token", "stale-timestamp")
    code = main(command + [word for name in names for word in ("--only", name)])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["verdict"]) == (0, "pass"), document
    outcomes = {entry["scenario"]: entry["outcome"] for entry in document["scenarios"]}
    assert outcomes == {"good-call": "pass", "wrong-token": "pass", "stale-timestamp": "skip"}
    (suite,) = ElementTree.parse(junit).getroot()
    assert [case.get("name") for case in suite] == list(names)
