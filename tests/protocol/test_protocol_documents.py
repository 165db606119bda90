"""Reading JSON from a peer: generous in nothing, surprised by nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.documents import (
    MAX_DEPTH,
    MAX_PROBLEMS,
    at,
    did_you_mean,
    encode_json,
    faults,
    kind,
    nearest,
    read_document,
    read_json,
    shown,
)
from minivoice_ref.protocol.errors import InvalidDocument, LocalProtocolError

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
good_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
good_documents = st.recursive(
    good_scalars,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=12,
)


def _places(document: object) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in faults(document)]


@given(good_documents)
def test_every_json_document_is_read_as_it_was_written(document: object) -> None:
    text = read_json(encode_json(document, "it"))
    assert text.readable and text.problems == ()
    assert text.document == document
    assert list(faults(text.document)) == []


@given(st.binary() | st.text())
def test_whatever_the_bytes_reading_does_not_raise(body: bytes | str) -> None:
    text = read_json(body)
    assert text.readable or text.problems
    list(faults(text.document))


@given(good_documents)
def test_a_document_without_a_fault_is_taken(document: object) -> None:
    assert read_document(encode_json(document, "it"), "the body") == document


@pytest.mark.parametrize(
    ("body", "faults_of_it"),
    [
        (b"{", [""]),
        (b'\xef\xbb\xbf{"a": NaN, "b": [1e999], "b": "\\ud800"}', ["", "", "a", "b"]),
        (b"[" * 100_000, [""]),
        (b"[" * 200 + b"]" * 200, ["[0]" * 20 + "…"]),
        (b"[" + b"NaN," * 500 + b"1]", [f"[{place}]" for place in range(MAX_PROBLEMS)]),
    ],
)
def test_a_document_with_faults_is_refused_with_all_of_them(
    body: bytes, faults_of_it: list[str]
) -> None:
    with pytest.raises(InvalidDocument, match="^the body has") as refused:
        read_document(body, "the body")
    assert [problem.path for problem in refused.value.problems] == faults_of_it
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty"),
        (b" \r\n\t", "is empty"),
        (b"\xff{}", "is not UTF-8: byte 0"),
        (b'{"a": "\xe4"}', "is not UTF-8: byte 7"),
        ("{}".encode("utf-16"), "is not UTF-8"),
        (b"{", "is not JSON: Expecting property name enclosed in double quotes at line 1"),
        (b'{"a":\n  ]}', "at line 2, column 3"),
        (b"{} {}", "is not JSON: Extra data"),
        (b"{'a': 1}", "is not JSON"),
        (b'"\x00"', "is not JSON: Invalid control character"),
        (b"[" * 100_000, f"is nested deeper than {MAX_DEPTH} levels"),
        (b'{"a":' * 100_000, f"is nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_no_json_is_one_problem_with_its_place(body: bytes, message: str) -> None:
    text = read_json(body)
    assert not text.readable
    (problem,) = text.problems
    assert message in problem.message
    assert problem.path == "" and problem.mend


def test_a_byte_order_mark_is_a_problem_and_the_rest_is_read_nevertheless() -> None:
    text = read_json(b'\xef\xbb\xbf{"a": 1}')
    assert text.readable and text.document == {"a": 1}
    assert [problem.message for problem in text.problems] == ["begins with a byte order mark"]


def test_a_byte_order_mark_and_a_broken_text_are_both_reported() -> None:
    assert len(read_json(b"\xef\xbb\xbf").problems) == 2
    assert len(read_json(b"\xef\xbb\xbf{").problems) == 2
    assert len(read_json(b"\xef\xbb\xbf" + b"[" * 100_000).problems) == 2


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ('{"a": [NaN]}', "a[0]", "is NaN, which JSON does not have"),
        ('{"a": Infinity}', "a", "is a number too large"),
        ('{"a": -Infinity}', "a", "is a number too large"),
        ('{"a": 1e999}', "a", "is a number too large"),
        ('{"a": ' + "9" * 10_000 + "}", "a", "is a number too large"),
        ('{"a": -' + "9" * 10_000 + "}", "a", "is a number too large"),
        ('{"a": "\\ud800"}', "a", "holds half of a surrogate pair"),
        ('{"\\udfff": 1}', "", "with half of a surrogate pair"),
        ('{"a": {"k": 1, "k": 2}}', "a", "has the key 'k' more than once"),
        ("[" * 65 + "]" * 65, "[0]" * 20 + "…", "is nested deeper than 64 levels"),
        ("NaN", "", "is NaN"),
    ],
)
def test_what_json_cannot_carry_is_found_where_it_stands(
    body: str, place: str, message: str
) -> None:
    text = read_json(body)
    assert text.readable
    ((where, what),) = _places(text.document)
    assert where == place and message in what


def test_large_numbers_that_machines_have_are_good() -> None:
    document = read_json(b'{"a": 18446744073709551615, "b": -1.5e300}').document
    assert document == {"a": 2**64 - 1, "b": -1.5e300}
    assert _places(document) == []


def test_a_repeated_key_keeps_its_last_value_and_only_the_repeated_one_is_named() -> None:
    document = read_json(b'{"a": 1, "b": 2, "a": 3}').document
    assert document == {"a": 3, "b": 2}
    assert _places(document) == [("", "has the key 'a' more than once")]


def test_faults_come_in_the_documents_order() -> None:
    document = {"a": [math.nan, {"x": math.inf}], "b": {"c": math.nan}}
    assert [place for place, _ in _places(document)] == ["a[0]", "a[1].x", "b.c"]


def test_a_python_object_that_is_no_json_is_named_by_its_type() -> None:
    document: dict[Any, Any] = {"a": (1,), "b": {1}, 5: "x", "c": 10**5000, "d": object}
    assert _places(document) == [
        ("", "has the key 5, which is no string"),
        ("a", "is a Python tuple, which JSON does not have"),
        ("b", "is a Python set, which JSON does not have"),
        ("c", "is a number too large to read"),
        ("d", "is a Python type, which JSON does not have"),
    ]


def test_numbers_have_64_digits_in_a_text_and_256_bits_in_python_at_most() -> None:
    assert read_json("9" * 64).document == 10**64 - 1
    assert read_json("9" * 65).document == math.inf
    assert _places([2**256 - 1, -(2**256) + 1]) == []
    assert [place for place, _ in _places([2**256, -(2**256)])] == ["[0]", "[1]"]


def test_a_list_that_holds_itself_is_walked_once() -> None:
    document: list[object] = []
    document.extend([document, document, math.nan])
    assert _places(document) == [("[2]", "is NaN, which JSON does not have")]


def test_a_document_that_json_cannot_carry_is_not_written() -> None:
    circular: list[object] = []
    circular.append(circular)
    for document in (math.nan, {1, 2}, circular, "\ud800", 10**5000):
        with pytest.raises(LocalProtocolError, match="the answer cannot be written as JSON"):
            encode_json(document, "the answer")


@pytest.mark.parametrize(
    ("path", "key", "place"),
    [
        ("", "actions", "actions"),
        ("actions", 0, "actions[0]"),
        ("actions[0]", "track", "actions[0].track"),
        ("a", "x y", "a['x y']"),
        ("a", "\x1b[0m", "a['\\x1b[0m']"),
        ("", "", "['']"),
        ("a", None, "a[null]"),
    ],
)
def test_a_place_is_written_as_people_write_it(path: str, key: object, place: str) -> None:
    assert at(path, key) == place


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "a boolean"),
        (0, "a number"),
        (0.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ({}, "an object"),
        (b"", "a Python bytes"),
    ],
)
def test_a_value_is_called_what_json_calls_it(value: object, name: str) -> None:
    assert kind(value) == name


def test_a_quotation_is_short_and_printable() -> None:
    assert shown("speaker") == "'speaker'"
    assert shown("a\x1b\u202eb") == "'a\\x1b\\u202eb'"
    assert shown(None) == "null" and shown(True) == "true"
    assert shown(7) == "7" and shown(0.5) == "0.5"
    assert shown(10**5000) == "a number" and shown([1]) == "a list"
    assert shown("x" * 60) == "'" + "x" * 60 + "'"
    assert shown("x" * 61) == "'" + "x" * 60 + "'…"
    assert len(shown("\U0010ffff" * 10**6)) < 700


def test_the_nearest_word_is_suggested_and_a_far_one_is_not() -> None:
    known = ("start_stream", "stop_stream", "hold")
    assert nearest("Start-Stream", known) == "start_stream"
    assert nearest("strt_stream", known) == "start_stream"
    assert nearest("dance", known) is None
    assert nearest(5, known) is None
    assert nearest("x" * 60, ["x" * 60]) == "x" * 60
    assert nearest("x" * 61, ["x" * 60]) is None


@given(scalars | st.lists(scalars) | st.dictionaries(st.text(), scalars))
def test_what_has_no_faults_can_be_written(document: object) -> None:
    if not list(faults(document)):
        assert read_json(encode_json(document, "it")).document == json.loads(json.dumps(document))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("lose", "; did you mean lose or close?"),
        ("Cose", "; did you mean close or lose?"),
        ("jit", "; did you mean jitter?"),
        ("", ""),
        ("helicopter", ""),
    ],
)
def test_names_that_are_like_a_wrong_one_are_offered_and_no_others(wrong: str, said: str) -> None:
    assert did_you_mean(wrong, ["lose", "jitter", "close"]) == said
