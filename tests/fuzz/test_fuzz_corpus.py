"""Every run: all that a coverage-guided fuzzer has kept, through the check of its target again."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_shrink import target

HERE = Path(__file__).parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
TARGETS = [name for name in TARGETS if name not in ("main", "shrink")]


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_fuzzer_has_kept_still_holds(name: str) -> None:
    check, inputs = target(name), list((HERE / "corpus" / name).iterdir())
    assert inputs
    for path in inputs:
        check(path.read_bytes())


def test_the_corpus_is_small_enough_to_be_kept() -> None:
    files = [path for path in (HERE / "corpus").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
