"""`minivoice-ref help`: the error catalogue."""

from __future__ import annotations

import json

import pytest

from minivoice_ref.cli import main
from minivoice_ref.protocol.error_catalogue import CATALOGUE, GROUPS


@pytest.mark.parametrize(
    "code", ["MV-204", "mv-204", "204", "mv204", "MV204", "MV 204", "mv_204", " 204 "]
)
def test_a_code_is_explained_however_it_is_written(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", code]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("MV-204 a stream's token has expired (the stream's URL")
    assert "cause: The platform connected later" in printed and "mend : Give a new URL" in printed


def test_a_code_may_come_as_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "MV", "204", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "MV-204"


def test_without_a_code_all_are_listed_in_the_debug_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["help"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed if line.startswith("  ")] == list(CATALOGUE)
    assert [line[4:] for line in printed if not line.startswith(" ")] == list(GROUPS.values())


def test_the_catalogue_comes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "MV-101", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert set(entry) == {"code", "group", "title", "cause", "mend"}
    assert main(["help", "--json"]) == 0
    assert entry in json.loads(capsys.readouterr().out)["errors"]


@pytest.mark.parametrize("code", ["MV-999", "MV-20", "MV-2041", "XMV-204", "", "٢٠٤"])
def test_an_unknown_code_is_bad_usage(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", code]) == 2
    assert f"{code} is no code of ours" in capsys.readouterr().err
