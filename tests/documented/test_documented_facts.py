"""Each documented fact has a place in the code and a test, and the page that says so is current."""

from __future__ import annotations

import re

import pytest
from documented_page import PAGE, holders, names_in, page, read_facts

FACTS = read_facts()


@pytest.mark.parametrize("name", FACTS)
def test_a_documented_fact_has_a_test_and_a_place_in_the_code(name: str) -> None:
    assert holders().get(name), "no test has the marker documents() with it"
    for path, where in FACTS[name].code:
        assert where in names_in(path), f"{path} has no {where}"


def test_no_marker_names_a_fact_that_there_is_not() -> None:
    assert set(holders()) <= set(FACTS)


def test_the_facts_are_those_of_all_four_sections_and_their_names_are_plain() -> None:
    assert sorted({fact.section[0] for fact in FACTS.values()}) == ["1", "2", "3", "4"]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in FACTS)


def test_the_page_is_what_facts_and_tests_make_of_it() -> None:
    written = PAGE.read_text("utf-8") if PAGE.exists() else ""
    assert written == page(), "run python tests/documented/documented_page.py"
