"""Reading the logs back: what is ours, what belongs together, whatever stands in the files."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.receiver import evidence as evidence_module
from minivoice_ref.receiver.evidence import (
    Groups,
    Line,
    NoSuchCall,
    gather,
    join_by_time,
    read_lines,
)


def line(second: int, log: str = "streams", what: str = "open", **fields: object) -> Line:
    time = f"2026-05-29T12:{second // 60:02}:{second % 60:02}.000000Z"
    return {"time": time, "log": log, "what": what, **fields}


GOOD = json.dumps(line(1, call_id="c"))


@pytest.mark.parametrize(
    "text",
    [
        GOOD[:-5],
        "Traceback (most recent call last):",
        "[]",
        "7",
        '{"time": "2026-05-29T12:00:00Z"}',
        '{"time": "2026-05-29T12:00:00Z", "log": "access", "what": "open"}',
        '{"time": "2026-05-29T12:00:00Z", "log": "streams", "what": 7}',
        '{"time": "2026-05-29T12:00:00Z", "log": ["streams"], "what": "open"}',
        '{"time": "yesterday", "log": "streams", "what": "open"}',
        '{"time": 7, "log": "streams", "what": "open"}',
        '{"time": "2026-05-29T12:00:00", "log": "streams", "what": "open"}',
        '{"time": "2026-05-29T12:00:00Z", "log": "streams", "what": "open", "call_id": 7}',
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_line_of_ours_is_counted_and_left_out(text: str | bytes) -> None:
    lines, foreign = read_lines([GOOD, text, "\n"])
    assert [one["call_id"] for one in lines] == ["c"] and foreign == 1


def test_lines_come_in_the_order_of_their_times() -> None:
    lines, _ = read_lines([json.dumps(line(9)), json.dumps(line(3)), json.dumps(line(5))])
    assert [one["time"][17:19] for one in lines] == ["03", "05", "09"]


def test_ids_tie_lines_together_across_the_logs() -> None:
    lines = [
        line(1, "answers", "answered", answer_id="a"),
        line(2, stream_id="s", answer_id="a"),
        line(3, what="started", stream_id="s", call_id="c"),
        line(4, "webhooks", "accepted", call_id="c"),
        line(4, "webhooks", "accepted", call_id="other"),
        line(5, what="account", stream_id="s", call_id="c"),
    ]
    for name in ("a", "s", "c"):
        evidence = gather(lines, name)
        assert evidence.name == "c" and len(evidence.lines) == 5
    assert len(evidence.of("streams")) == 3 and len(evidence.of("streams", "open", "account")) == 2


def test_two_known_groups_are_joined_by_a_line_that_has_an_id_of_each() -> None:
    lines = [line(1, call_id="c"), line(2, stream_id="s"), line(3, call_id="c", stream_id="s")]
    assert len(gather(lines).lines) == 3


def test_loose_lines_count_for_the_call_of_their_time_only() -> None:
    lines = [
        line(1, what="refused"),
        line(1, what="settings", status=0),
        line(10, call_id="c1"),
        line(11, what="refused", status=1),
        line(30, what="refused", status=2),
        line(70, what="refused", status=3),
        line(100, call_id="c2"),
        line(105, call_id="c3"),
        line(110, what="refused", status=4),
    ]
    statuses = [one["status"] for one in gather(lines, "c1").of("streams", loose=True)]
    assert statuses == [0, 1, 2]
    assert len(gather(lines, "c2").of("streams", loose=True)) == 1
    assert [one["status"] for one in gather(lines).loose] == [0, 4]


def test_a_call_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(NoSuchCall) as caught:
        gather([line(1, call_id="c1"), line(2, call_id="c2")], "c3")
    assert caught.value.known == ("c1", "c2")


def test_logs_without_ids_are_evidence_of_no_call() -> None:
    evidence = gather([line(1, what="refused")])
    assert evidence.name is None and evidence.lines == () and len(evidence.loose) == 1


def test_the_last_call_is_none_of_the_probes_of_doctor() -> None:
    lines = [
        line(1, "webhooks", "accepted", call_id="call_1"),
        line(9, "webhooks", "accepted", call_id="call_doctor_20260529_signed"),
    ]
    assert gather(lines).name == "call_1"
    assert gather(lines, "call_doctor_20260529_signed").name == "call_doctor_20260529_signed"
    assert gather(lines[1:]).name == "call_doctor_20260529_signed"


def answers_and_calls(times: list[tuple[int, int, bool]]) -> list[Line]:
    """The webhooks of calls, and answers that name no call: (begin, length, is it a call?)."""
    lines: list[Line] = []
    for number, (begin, length, named) in enumerate(times):
        if named:
            for second in (begin, begin + length):
                lines.append(line(second, "webhooks", "accepted", call_id=f"c{number}"))
        else:
            lines.append(line(begin, "answers", "answered", answer_id=f"a{number}"))
    return sorted(lines, key=lambda one: str(one["time"]))


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 30), st.booleans()), max_size=14))
def test_an_answer_goes_to_the_one_call_around_it_and_to_none_of_several(
    times: list[tuple[int, int, bool]],
) -> None:
    lines = answers_and_calls(times)
    expected = {f"c{n}": {f"c{n}"} for n, (_, _, named) in enumerate(times) if named}
    spans = {f"c{n}": (b, b + length) for n, (b, length, named) in enumerate(times) if named}
    for text in (one for one in lines if one["log"] == "answers"):
        at = int(text["time"][14:16]) * 60 + int(text["time"][17:19])
        around = [call for call, (b, e) in spans.items() if b - 5 <= at <= e + 5]
        if len(around) == 1:
            expected[around[0]].add(text["answer_id"])
            del spans[around[0]]  # it has its answer now
        else:
            expected[text["answer_id"]] = {text["answer_id"]}
    found = {
        group.name: {value for _, value in group.ids} for group in join_by_time(Groups(lines).all())
    }
    assert found == expected


def test_a_long_log_is_put_together_in_a_time_that_grows_with_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = 0
    plain = evidence_module.when

    def when(one: Line) -> datetime:
        nonlocal counted
        counted += 1
        return plain(one)

    monkeypatch.setattr(evidence_module, "when", when)
    costs = []
    for calls in (50, 200):
        lines = answers_and_calls([(7 * n, 3, n % 2 == 0) for n in range(2 * calls)])
        counted = 0
        gather(lines)
        costs.append(counted / len(lines))
    assert costs[1] < 2 * costs[0]
