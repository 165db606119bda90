"""The corpus of abuse itself: as large and as wide as it is meant to be, and free of slips."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

from abuse_corpus import read_corpus
from abuse_parts import Words

from minivoice_ref.config import Timeouts
from minivoice_ref.protocol.error_catalogue import CATALOGUE

CASES = read_corpus()


def test_the_corpus_is_large_and_wide() -> None:
    subjects = Counter(case.subject for case in CASES)
    assert len(CASES) >= 300
    assert set(subjects) == {
        "audio",
        "bodies",
        "console",
        "frames",
        "heads",
        "messages",
        "paths",
        "slow",
        "smuggling",
        "tls",
        "upgrade",
    }
    assert min(subjects.values()) >= 20, subjects


def test_no_case_stands_twice() -> None:
    names = Counter((case.subject, case.name) for case in CASES)
    assert {name for name, count in names.items() if count > 1} == set()


def test_every_case_names_deadlines_and_codes_that_there_are() -> None:
    known = {field.name for field in fields(Timeouts)}
    for case in CASES:
        assert set(case.within) <= known, case.name
        assert set(case.codes) <= set(CATALOGUE), case.name


def test_every_case_can_be_sent_in_pieces_of_bounded_size() -> None:
    for case in CASES:
        for step in Words(1_780_000_000.0).steps(case.send):
            assert not isinstance(step, bytes) or len(step) <= 131072, case.name
