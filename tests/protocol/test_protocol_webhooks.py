"""The event envelope: written as documented, read tolerantly, its faults all at once."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.documents import MAX_PROBLEMS
from minivoice_ref.protocol.errors import InvalidDocument, LocalProtocolError
from minivoice_ref.protocol.webhooks import (
    EVENTS,
    CallEvent,
    CallInfo,
    format_time,
    parse_time,
    read_event,
)

DOCUMENTED: dict[str, Any] = {
    "event": "call.completed",
    "created_at": "2026-05-29T12:10:00Z",
    "call": {
        "id": "call_123",
        "customer_id": "cust_123",
        "application_id": "app_123",
        "status": "completed",
        "direction": "outbound",
        "from": "+15551230001",
        "to": "+15551230002",
    },
    "variables": {},
    "data": {},
}
NOON = datetime(2026, 5, 29, 12, tzinfo=UTC)


def _event(**changes: Any) -> CallEvent:
    return read_event(json.dumps({**DOCUMENTED, **changes}).encode())


def _problems(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as caught:
        read_event(body)
    assert caught.value.status == 400
    return [(problem.path, problem.message) for problem in caught.value.problems]


def _faults(**changes: Any) -> list[tuple[str, str]]:
    return _problems(json.dumps({**DOCUMENTED, **changes}).encode())


@pytest.mark.documents("envelope")
def test_the_documented_envelope_is_read_field_by_field() -> None:
    event = _event()
    assert event == CallEvent(
        "call.completed",
        datetime(2026, 5, 29, 12, 10, tzinfo=UTC),
        CallInfo(
            "call_123",
            status="completed",
            direction="outbound",
            from_number="+15551230001",
            to_number="+15551230002",
            customer_id="cust_123",
            application_id="app_123",
        ),
    )


def test_an_event_cannot_be_changed_once_read() -> None:
    event = _event()
    with pytest.raises(FrozenInstanceError):
        event.event = "call.failed"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        event.call.id = "c"  # type: ignore[misc]


@pytest.mark.documents("envelope")
def test_the_documented_envelope_is_written_as_it_was_read() -> None:
    assert _event().to_json() == DOCUMENTED
    assert json.loads(_event().encode()) == DOCUMENTED


@pytest.mark.documents("call-created-shows-more", "unknown-fields")
def test_the_extra_fields_of_call_created_are_kept() -> None:
    extra = {"provider_call_id": "p1", "route_mode": "direct", "routing_target": {"a": 1}}
    data = {"event_key": "call_123:call.created"}
    event = _event(event="call.created", call=DOCUMENTED["call"] | extra, data=data, region="eu")
    assert event.call.extra == extra and event.data == data and event.extra == {"region": "eu"}
    assert event.to_json()["region"] == "eu"
    assert event.call.to_json() == DOCUMENTED["call"] | extra


@pytest.mark.documents("unknown-fields")
def test_missing_optional_fields_are_tolerated() -> None:
    event = read_event(
        b'{"event": "call.answered", "created_at": "2026-05-29T12:00:00Z", "call": {"id": "c"},'
        b' "variables": null}'
    )
    assert event.call == CallInfo("c") and event.call.to_json() == {"id": "c"}
    assert event.variables == {} and event.data == {} and event.extra == {}


def test_optional_strings_may_be_empty_or_null() -> None:
    call = _event(call={"id": "c", "status": "", "direction": None}).call
    assert call.status == "" and call.direction is None


@pytest.mark.documents("eight-events")
def test_there_are_eight_documented_events_and_two_end_the_call() -> None:
    calls = {"call.created", "call.answered", "call.gathered", "call.completed", "call.failed"}
    recordings = {"recording.started", "recording.completed", "recording.failed"}
    assert set(EVENTS) == calls | recordings and len(EVENTS) == 8
    ending = [name for name in EVENTS if _event(event=name).ends_call]
    assert ending == ["call.completed", "call.failed"]


@pytest.mark.documents("statuses-and-directions")
def test_unknown_events_statuses_and_directions_are_accepted() -> None:
    event = _event(event="call.teleported", call={"id": "c", "status": "?", "direction": "up"})
    assert (event.event, event.call.status, event.call.direction) == ("call.teleported", "?", "up")
    assert not event.ends_call


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b"", "", "is empty"),
        (b"\xff", "", "is not UTF-8"),
        (b"event=call.completed", "", "is not JSON"),
        (b"[" * 100_000, "", "is nested deeper"),
        (b"[]", "", "is a list, not an object"),
        (b"5", "", "is a number, not an object"),
    ],
)
def test_a_body_that_is_no_envelope_is_one_problem(body: bytes, path: str, message: str) -> None:
    ((where, what),) = _problems(body)
    assert where == path and message in what


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"event": None}, "event", "is missing"),
        ({"event": ""}, "event", "is empty"),
        ({"event": 5}, "event", "is a number, not a string"),
        ({"created_at": None}, "created_at", "is missing"),
        ({"created_at": 1780056600}, "created_at", "is a number, not a string"),
        ({"created_at": "yesterday"}, "created_at", "'yesterday' is not an RFC 3339 time"),
        ({"call": None}, "call", "is missing"),
        ({"call": "call_123"}, "call", "is a string, not an object"),
        ({"call": {}}, "call.id", "is missing"),
        ({"call": {"id": ""}}, "call.id", "is empty"),
        ({"call": {"id": 5}}, "call.id", "is a number, not a string"),
        ({"call": {"id": "c", "from": 15551230001}}, "call.from", "is a number, not a string"),
        ({"variables": []}, "variables", "is a list, not an object"),
        ({"variables": {"a": 1}}, "variables.a", "is a number, not a string"),
        ({"variables": {"a": "v" * 4097}}, "variables.a", "has 4097 characters"),
        ({"variables": {"n" * 129: ""}}, f"variables[{'n' * 60!r}…]", "name has 129 characters"),
        ({"data": "x"}, "data", "is a string, not an object"),
        ({"data": {"a": math.nan}}, "data.a", "is NaN"),
    ],
)
def test_a_fault_is_named_with_its_place(changes: Any, path: str, message: str) -> None:
    ((where, what),) = _faults(**changes)
    assert where == path and message in what


@pytest.mark.documents("variables-are-bounded")
def test_variables_may_be_as_long_as_documented() -> None:
    variables = {"n" * 128: "v" * 4096}
    assert _event(variables=variables).variables == variables


def test_every_fault_is_reported_at_once() -> None:
    found = _faults(event="", created_at="now", call={"id": 1, "to": 2}, variables=[], data=[])
    assert [path for path, _ in found] == [
        "event",
        "created_at",
        "call.id",
        "call.to",
        "variables",
        "data",
    ]


def test_a_flood_of_faults_is_cut() -> None:
    flood: dict[str, object] = {f"v{n}": n for n in range(1000)}
    assert len(_faults(variables=flood)) == MAX_PROBLEMS
    assert len(_faults(data={"x": [math.nan] * 1000})) == MAX_PROBLEMS


def test_a_byte_order_mark_is_a_fault_beside_the_others() -> None:
    assert len(_problems(b'\xef\xbb\xbf{"event": "x"}')) == 3


def test_duplicates_have_one_key_whatever_their_form() -> None:
    first = _event(data={"digits": "12", "status": "ok"})
    body = json.dumps({**first.to_json(), "data": {"status": "ok", "digits": "12"}}, indent=4)
    assert read_event(body.encode()).key == first.key
    assert read_event(first.encode()).key == first.key


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "call.failed"},
        {"created_at": "2026-05-29T12:10:01Z"},
        {"created_at": "2026-05-29T12:10:00.000001Z"},
        {"call": {"id": "call_124"}},
        {"data": {"digits": "2"}},
    ],
)
@pytest.mark.documents("keyed-by-call-and-event")
def test_events_that_differ_in_call_name_time_or_data_have_different_keys(changes: Any) -> None:
    assert _event(**changes).key != _event().key


def test_a_key_shows_call_event_time_and_half_a_sha_256_of_the_data() -> None:
    # sha256 of {"digits":"12"}, as sha256sum prints it
    digest = "4eaf50ddba3f2602e2f9069f74deea8f"
    assert json.loads(_event(data={"digits": "12"}).key) == [
        "call_123",
        "call.completed",
        "2026-05-29T12:10:00Z",
        digest,
    ]


def test_what_is_not_in_the_key_does_not_change_it() -> None:
    assert _event(variables={"a": "b"}, region="eu").key == _event().key


def test_no_choice_of_ids_makes_two_different_events_one() -> None:
    one = replace(_event(event="b c"), call=CallInfo("a"))
    other = replace(_event(event="c"), call=CallInfo("a b"))
    assert one.key != other.key


def test_an_event_that_json_cannot_carry_is_not_sent() -> None:
    event = CallEvent("call.gathered", NOON, CallInfo("c"), data={"x": math.nan})
    with pytest.raises(LocalProtocolError, match="the event call.gathered cannot be written"):
        event.encode()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-29T12:00:00Z", NOON),
        ("2026-05-29t12:00:00z", NOON),
        ("2026-05-29T12:00:00+00:00", NOON),
        ("2026-05-29T12:00:00-00:00", NOON),
        ("2026-05-29T14:30:00+02:30", NOON),
        ("2026-05-29T05:00:00-07:00", NOON),
        ("2026-05-29T12:00:00.5Z", NOON + timedelta(milliseconds=500)),
        ("2026-05-29T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
        ("2026-05-29T12:00:00.0000019999Z", NOON + timedelta(microseconds=1)),
        ("2026-05-29T11:59:60Z", NOON),
    ],
)
@pytest.mark.documents("times-and-ids")
def test_every_form_of_rfc_3339_is_read(text: str, moment: datetime) -> None:
    found = parse_time(text)
    assert found == moment and found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-05-29",
        "2026-05-29T12:00:00",
        "2026-05-29 12:00:00Z",
        "2026-05-29T12:00Z",
        "2026-05-29T12:00:00.Z",
        "2026-05-29T12:00:00+0000",
        "2026-05-29T12:00:00+24:00",
        "2026-05-29T24:00:00Z",
        "2026-05-29T12:00:61Z",
        "2026-02-30T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-05-29T12:00:00Z\n",
        "\u0662026-05-29T12:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:60Z",
        "1780056600",
        "x" * 10**5,
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339|outside the years|must be in|out of range"):
        parse_time(text)


@pytest.mark.documents("times-and-ids")
def test_a_time_is_written_in_utc_with_a_fraction_only_where_there_is_one() -> None:
    assert format_time(NOON) == "2026-05-29T12:00:00Z"
    assert format_time(NOON + timedelta(microseconds=1)) == "2026-05-29T12:00:00.000001Z"
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-7)))
    assert format_time(elsewhere) == "2026-05-29T12:00:00Z"


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(LocalProtocolError, match="has no time zone"):
        format_time(NOON.replace(tzinfo=None))


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(2, 1, 1)))
def test_a_written_time_is_read_back(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.astimezone(UTC)


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
events = st.builds(
    CallEvent,
    event=st.sampled_from(EVENTS) | words,
    created_at=st.datetimes(timezones=st.just(UTC)),
    call=st.builds(CallInfo, words, status=words | st.none(), from_number=words | st.none()),
    variables=st.dictionaries(words, words, max_size=3),
    data=st.dictionaries(words, words | st.integers(-(2**60), 2**60) | st.booleans(), max_size=3),
    extra=st.dictionaries(st.just("region"), words),
)


@given(events)
def test_every_event_is_read_back_as_it_was_sent(event: CallEvent) -> None:
    found = read_event(event.encode())
    assert found == event and found.key == event.key


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "from", "a"]) | st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(DOCUMENTED)), json_values) | json_values)
def test_no_document_raises_anything_but_its_faults(document: object) -> None:
    try:
        event = read_event(json.dumps(document).encode())
    except InvalidDocument as exc:
        assert exc.problems
    else:
        assert read_event(event.encode()) == event
