"""The README's tables of limits, reliability and threats: what they say is so, and is tested."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from benchmarks.reliability import PROMISES, as_rst, main
from minivoice_ref.config import Limits, Timeouts

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text("utf-8")
OF_THE_STAND_IN = {"response_body", "response", "speech"}


def section(name: str) -> str:
    """The text of one section of the README."""
    match = re.search(rf"^{name}\n-+\n(.*?)(?=^[^\n]+\n-{{4,}}$|\Z)", README, re.M | re.S)
    assert match is not None, name
    return match[1]


def all_tests() -> dict[str, set[str]]:
    """The names of all tests, by file."""
    return {
        str(path.relative_to(ROOT / "tests")): set(
            re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.M)
        )
        for path in (ROOT / "tests").rglob("test_*.py")
    }


@pytest.mark.parametrize("name", ["Limits", "Reliability", "Security"])
def test_every_test_that_a_table_names_exists(name: str) -> None:
    named = set(re.findall(r"\btest_\w+", section(name)))
    assert len(named) > 15
    assert not named - set().union(*all_tests().values())


def test_every_row_of_the_threat_model_names_a_test() -> None:
    rows = re.split(r"^   \* -", section("Security"), flags=re.M)[2:]
    assert len(rows) > 12
    for row in rows:
        cells = re.split(r"^     - ", row.partition("\n\n")[0], flags=re.M)
        assert len(cells) == 4 and "test_" in cells[3], row


def rows_of_settings() -> list[tuple[str, str, str]]:
    """Of each row in the section on limits: its settings, their defaults, the tests."""
    return re.findall(
        r"^   \* - (``.*``)\n     - (.*)\n(?:     - .*\n(?:       .*\n)*?)     - (``test_.*)",
        section("Limits"),
        re.M,
    )


def test_every_limit_and_deadline_stands_in_the_readme_with_its_default_and_a_test() -> None:
    found = []
    for names, defaults, _ in rows_of_settings():
        found += list(zip(re.findall(r"``(\w+)``", names), defaults.split(", "), strict=True))
    told = [
        *((f.name, str(f.default)) for f in dataclasses.fields(Limits)),
        *((f.name, f"{f.default:g}") for f in dataclasses.fields(Timeouts)),
    ]
    assert found == [(name, default) for name, default in told if name not in OF_THE_STAND_IN]


def test_the_table_of_reliability_is_what_the_command_prints() -> None:
    stored = json.loads((ROOT / "benchmarks" / "results" / "reliability.json").read_text("utf-8"))
    assert as_rst(stored["found"]).strip() in section("Reliability")
    assert "DOES NOT HOLD" not in README


def test_every_promise_is_held_by_a_test_that_exists() -> None:
    tests = all_tests()
    for promise, test in PROMISES:
        file, _, name = test.partition("::")
        assert name in tests[file], promise


def test_a_promise_that_does_not_hold_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {test: {"outcomes": ["passed"], "figures": ["7 ms"]} for _, test in PROMISES}
    for found, code in ((good, 0), (good | {PROMISES[0][1]: {"outcomes": ["skipped"]}}, 1)):
        results = tmp_path / "results.json"
        results.write_text(json.dumps({"found": found}))
        assert main(["--print", "--output", str(results)]) == code
        printed = capsys.readouterr().out
        assert printed.count("DOES NOT HOLD") == code and "7 ms" in printed
