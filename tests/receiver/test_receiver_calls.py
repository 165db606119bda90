"""What is remembered of calls, and for how long."""

from __future__ import annotations

import pytest

from minivoice_ref.protocol.signing import LONGEST_SUBJECT, mint_token
from minivoice_ref.receiver.calls import (
    Calls,
    Subject,
    new_answer_id,
    new_stream_id,
    usable_call_id,
)


def test_a_call_is_the_same_from_whichever_end_it_is_heard_of() -> None:
    calls = Calls(10)
    record = calls.heard("call_1", "stream")
    assert calls.heard("call_1", "webhook") is record
    assert (record.heard_from, record.status, record.ended.is_set()) == ("stream", None, False)
    calls.end("call_1", "completed")
    assert calls.heard("call_1", "answer") is record
    assert (record.status, record.ended.is_set()) == ("completed", True)


def test_the_first_end_of_a_call_counts() -> None:
    calls = Calls(10)
    calls.end("call_1", "completed")
    calls.end("call_1", "failed")
    assert calls.heard("call_1", "stream").status == "completed"


def test_the_call_that_ended_longest_ago_is_forgotten_first() -> None:
    calls = Calls(3)
    for number in (1, 2, 3):
        calls.heard(f"call_{number}", "answer")
    calls.end("call_3", "completed")
    calls.end("call_2", "completed")
    calls.heard("call_4", "answer")
    assert len(calls) == 3
    assert calls.heard("call_2", "answer").status == "completed"
    calls.heard("call_5", "answer")
    assert calls.heard("call_1", "webhook").heard_from == "answer"


def test_without_ended_calls_the_oldest_is_forgotten_unless_it_has_a_stream() -> None:
    calls = Calls(2)
    streaming = calls.heard("call_1", "stream")
    streaming.streams += 1
    calls.heard("call_2", "answer")
    calls.heard("call_3", "answer")
    assert calls.heard("call_1", "answer") is streaming
    assert len(calls) == 2
    calls.heard("call_3", "answer").streams += 1
    calls.heard("call_4", "answer")  # every call has a stream: one more than the limit
    assert len(calls) == 3


@pytest.mark.parametrize(
    "subject", [Subject(call_id="call_1"), Subject(answer_id="answer_1"), Subject(call_id="a:b")]
)
def test_a_subject_survives_its_token(subject: Subject) -> None:
    assert Subject.from_token(str(subject)) == subject


def test_a_subject_of_somebody_elses_making_is_a_call_id() -> None:
    assert Subject.from_token("call_1") == Subject(call_id="call_1")
    assert Subject.from_token("x:y") == Subject(call_id="x:y")


def test_every_usable_call_id_fits_into_a_token() -> None:
    longest = "x" * (LONGEST_SUBJECT - len("call:"))
    assert usable_call_id(longest) == longest
    assert usable_call_id(longest + "x") is None
    assert mint_token("key", str(Subject(call_id=longest)), 1.0)


def test_ids_of_ours_are_unlike_each_other_and_safe_in_file_names() -> None:
    ids = {new() for new in (new_answer_id, new_stream_id) for _ in range(100)}
    assert len(ids) == 200
    assert all(name.replace("_", "").isalnum() for name in ids)
