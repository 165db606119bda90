"""The histogram of lateness: exact where it promises to be, never flattering elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.simulator.lateness import Lateness

SECONDS = st.floats(min_value=-1.0, max_value=1000.0)


def histogram(*seconds: float) -> Lateness:
    lateness = Lateness()
    for value in seconds:
        lateness.add(value)
    return lateness


def test_nothing_was_never_late() -> None:
    nothing = Lateness()
    assert nothing.count == nothing.percentile(99) == nothing.mean == nothing.over(0.005) == 0


def test_a_frame_exactly_5_ms_late_is_not_over_5_ms() -> None:
    lateness = histogram(0.005, 0.0050001, 0.02, 0.0200001)
    assert (lateness.over(0.005), lateness.over(0.02)) == (3, 1)


def test_what_is_early_counts_as_in_time() -> None:
    early = histogram(-0.5, -1e-9)
    assert (early.count, early.maximum, early.total) == (2, 0.0, 0.0)


def test_what_is_later_than_every_bound_is_still_counted() -> None:
    lateness = histogram(0.001, 500.0)
    assert (lateness.over(0.5), lateness.maximum, lateness.percentile(100)) == (1, 500.0, 500.0)


def test_counts_over_what_is_no_bound_are_refused() -> None:
    for seconds in (0.00513, 0.0, 500.0):
        with pytest.raises(ValueError, match="not the bound"):
            Lateness().over(seconds)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percentile_is_a_percentage(percent: float) -> None:
    with pytest.raises(ValueError, match="not a percentage"):
        Lateness().percentile(percent)


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0, 50, 90, 99, 100]))
def test_a_percentile_is_at_most_one_bucket_above_the_exact_one(
    seconds: list[float], percent: int
) -> None:
    ranked = sorted(max(0.0, value) for value in seconds)
    exact = ranked[max(0, -(-len(ranked) * percent // 100) - 1)]
    told = histogram(*seconds).percentile(percent)
    assert exact <= told
    if 1e-5 <= exact <= 90.0:
        assert told <= exact * 1.13


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_merged_is_the_same_as_counted_together(one: list[float], other: list[float]) -> None:
    merged = histogram(*one)
    merged.merge(histogram(*other))
    together = histogram(*one, *other)
    assert merged.total == pytest.approx(together.total)
    merged.total = together.total
    assert merged.to_json() == together.to_json()


def test_its_json_is_in_milliseconds() -> None:
    assert histogram(0.001, 0.003, 0.03).to_json() == {
        "count": 3,
        "mean_ms": 11.333,
        "p50_ms": 3.15,
        "p90_ms": 30.0,
        "p99_ms": 30.0,
        "max_ms": 30.0,
        "over_5_ms": 1,
        "over_20_ms": 1,
    }
