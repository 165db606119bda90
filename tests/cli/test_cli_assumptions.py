"""`minivoice-ref assumptions`: every guess has a name, a reason, and a setting that exists."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from minivoice_ref.assumption_texts import TEXTS
from minivoice_ref.assumptions import AREAS, all_assumptions, as_rst, setting_default
from minivoice_ref.cli import main
from minivoice_ref.config import Config
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.faults import FAULTS


def test_every_assumption_has_one_name_an_area_and_a_reason() -> None:
    entries = all_assumptions()
    names = [(entry.area, entry.name) for entry in entries]
    assert len(set(names)) == len(names) and {area for area, _ in names} == set(AREAS)
    assert all(entry.assumed and entry.why for entry in entries)


def test_the_table_has_read_its_whole_text() -> None:
    names = re.findall(r"^(\w+)(?: \[.*\])?$", TEXTS, re.MULTILINE)
    assert names == [e.name for e in all_assumptions() if e.area not in ("actions", "faults")]


def test_the_simulators_own_tables_are_part_of_it() -> None:
    entries = {(entry.area, entry.name): entry for entry in all_assumptions()}
    for field in dataclasses.fields(Assumptions):
        entry = entries["actions", field.name]
        assert entry.written == f"--assume {field.name}" and entry.assumed == field.metadata["help"]
    assumed = {name for name, fault in FAULTS.items() if fault.assumed}
    assert assumed == {name for area, name in entries if area == "faults"}


def test_every_setting_that_calls_itself_an_assumption_is_in_the_table() -> None:
    places = {entry.place for entry in all_assumptions()}
    for field in dataclasses.fields(Config):
        if "assumption" in field.metadata.get("help", ""):
            assert f"Config.{field.name}" in places


@pytest.mark.parametrize(
    ("place", "default"),
    [
        ("Config.require_token", "yes"),
        ("Config.webhook_secret", "unset"),
        ("Config.webhook_memory", "604800"),
        ("Config.dialect", "minivoice"),
        ("CallPlan.answered_first", "no"),
        ("CallPlan.speech_programs", "flite, espeak-ng"),
        ("Limits.reorder", "10"),
    ],
)
def test_a_value_is_that_of_the_setting(place: str, default: str) -> None:
    assert setting_default(place) == default


def test_a_setting_that_is_gone_is_found_out() -> None:
    with pytest.raises(ValueError, match="unpack"):
        setting_default("Config.nothing_such")


def test_the_list_for_the_readme_has_every_entry() -> None:
    text = as_rst()
    for entry in all_assumptions():
        assert f"- *{entry.name}*: " in text
    assert all(f"**{heading}**\n\n- " in text for heading in AREAS.values())
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_command_prints_the_list_for_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions", "--rst"]) == 0
    assert capsys.readouterr().out == as_rst() + "\n"


def test_the_command_prints_all_or_those_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions"]) == 0
    printed = capsys.readouterr().out
    assert "dialect  [dialect = minivoice]" in printed and "stereo_order  [no setting]" in printed
    assert main(["assumptions", "Fallback"]) == 0
    printed = capsys.readouterr().out
    assert "fallback_format" in printed and "retry_first" not in printed


def test_the_table_comes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["assumptions"]
    assert len(entries) == len(all_assumptions())
    (entry,) = [entry for entry in entries if entry["name"] == "webhook_tolerance"]
    assert (entry["setting"], entry["value"]) == ("webhook_tolerance", "300")
    (entry,) = [entry for entry in entries if entry["name"] == "stereo_order"]
    assert entry["setting"] is None


def test_a_word_that_none_has_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions", "xyzzy"]) == 2
    assert "xyzzy" in capsys.readouterr().err


def test_the_simulators_assumptions_can_be_listed_and_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = ["call", "--answer-url", "https://127.0.0.1:9/answer"]
    with pytest.raises(SystemExit) as exit:
        main([*call, "--assume", "pause_w=0.7", "--assume", "list"])
    assert exit.value.code == 0
    assert "pause_w=0.7 " in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        main([*call, "--assume", "pause_v=1"])
    assert exit.value.code == 2
    assert (
        "did you mean pause_w, pause_W or pause_comma? (`--assume list` shows all)"
        in capsys.readouterr().err
    )
    assert main([*call, "--assume", "hold_silences=inbound", "--json"]) == 1
