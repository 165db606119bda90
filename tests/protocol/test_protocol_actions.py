"""Answers: both forms, all fifteen actions, every fault at once."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivoice_ref.protocol.actions import (
    ACTIONS,
    STREAM_ACTION_ACCEPTED,
    Action,
    Answer,
    bridge,
    check_answer,
    conference,
    gather,
    hold,
    mute,
    read_answer,
    redirect,
    resume,
    say,
    send_digits,
    start_recording,
    start_stream,
    stop_recording,
    stop_stream,
    transfer,
    unmute,
)
from minivoice_ref.protocol.documents import MAX_PROBLEMS
from minivoice_ref.protocol.errors import LocalProtocolError

URL = "wss://media.example.com/minivoice"

# One good action of each type, with every parameter that its table names.
EXAMPLES = (
    say("Hello"),
    gather(
        "Your number, please",
        num_digits=4,
        min_digits=0,
        max_digits=9,
        timeout_seconds=30,
        finish_on_key="#",
    ),
    send_digits("12*#AwW,", pause_before_ms=60000),
    redirect("https://app.example.com/next", method="POST", max_redirects=20),
    transfer("+15551230002"),
    bridge("sip:agent@example.com"),
    conference("support.1", mute=False, end_on_exit=True),
    hold(),
    resume(),
    mute("read"),
    unmute("both"),
    start_recording(),
    stop_recording(),
    start_stream(URL, "inbound"),
    stop_stream(URL, "outbound"),
)

# The bounds of each parameter as documented: good values at the edge, bad ones just beyond.
BOUNDS: tuple[tuple[Action, str, tuple[object, ...], tuple[object, ...]], ...] = (
    (say("x"), "text", ("y",), ("", 1, None)),
    (gather(), "prompt", ("y",), (1, None)),
    (gather(), "num_digits", (1, 99), (0, -1, 1.5, "1", True)),
    (gather(), "min_digits", (0, 1), (-1, False, "1")),
    (gather(), "max_digits", (1, 99), (0, True, None)),
    (gather(), "timeout_seconds", (1, 30), (0, 31, 1.0, True, "5")),
    (gather(), "finish_on_key", ("0", "9", "*", "#", "A", "D"), ("", "E", "X", "12", "w", 1)),
    (send_digits("1"), "digits", ("0", "*#", "AD", "w", "W", ","), ("", "E", "X", "1 2", 5)),
    (send_digits("1"), "pause_before_ms", (0, 60000), (-1, 60001, "0", 0.5, True)),
    (redirect("http://a.example"), "url", ("https://b.example/",), ("wss://a.example", "/next", 1)),
    (redirect("http://a.example"), "method", ("GET", "POST"), ("get", "PUT", "", None)),
    (redirect("http://a.example"), "max_redirects", (0, 20), (-1, 21, "1", True)),
    (transfer("+15551230002"), "destination", ("sip:a@b.example", "+49301234"), ("5551", "", 1)),
    (bridge("+15551230002"), "destination", ("sips:a@b.example", "+49301234"), ("tel:+1", "", 1)),
    (conference("a"), "room", ("A.b-c_1",), ("", "a b", "a/b", "ä", 1)),
    (conference("a"), "mute", (True, False), (1, "true", None)),
    (conference("a"), "end_on_exit", (True, False), (0, "no", None)),
    (mute("both"), "direction", ("read", "write", "both"), ("inbound", "", "Read", True)),
    (unmute("both"), "direction", ("read", "write", "both"), ("outbound", "", None, 1)),
    (start_stream(URL), "stream_url", ("wss://a.example",), ("ws://a.example", "wss://", "", 1)),
    (start_stream(URL), "track", ("inbound", "outbound", "both"), ("speaker", "", None, "BOTH")),
    (stop_stream(), "stream_url", ("wss://a.example",), ("https://a.example", "a.example", None)),
    (stop_stream(), "track", ("inbound", "outbound", "both"), ("mixed", "", 1, None)),
)


def _problems(*entries: object) -> list[tuple[str, str]]:
    checked = check_answer({"actions": list(entries)})
    return [(problem.path, problem.message) for problem in checked.problems]


def _warnings(*entries: object) -> list[tuple[str, str]]:
    checked = check_answer({"actions": list(entries)})
    assert checked.valid, checked.problems
    return [(problem.path, problem.message) for problem in checked.warnings]


@pytest.mark.parametrize("type", ["start_stream", "stop_stream"])
@pytest.mark.documents("good-lists")
def test_the_documented_good_lists_pass(type: str) -> None:
    body = '{"actions": [{"type": "%s", "stream_url": "%s", "track": "both"}]}' % (type, URL)
    checked = read_answer(body)
    assert checked.valid and checked.warnings == ()
    assert checked.actions == (Action(type, {"stream_url": URL, "track": "both"}),)
    assert STREAM_ACTION_ACCEPTED == "stream action accepted by the call flow"


@pytest.mark.documents("bad-list")
def test_the_documented_bad_list_has_exactly_its_two_faults() -> None:
    checked = read_answer(
        b'{"actions": [{"type": "start_stream",'
        b' "stream_url": "https://media.example.com/minivoice", "track": "speaker"}]}'
    )
    scheme, track = checked.problems
    assert (scheme.path, track.path) == ("actions[0].stream_url", "actions[0].track")
    assert "has the scheme https, not wss" in scheme.message and "wss://" in scheme.mend
    assert track.message == "'speaker' is not inbound, outbound or both"
    assert track.mend == "write inbound, outbound or both"
    assert checked.actions == (None,) and not checked.valid
    assert checked.problems_of(0) == checked.problems and checked.problems_of(1) == ()


def test_the_same_faults_of_the_keyed_form_stand_below_its_key() -> None:
    entry = {"start_stream": {"stream_url": "https://media.example.com/", "track": "speaker"}}
    assert [path for path, _ in _problems(entry)] == [
        "actions[0].start_stream.stream_url",
        "actions[0].start_stream.track",
    ]


@pytest.mark.documents("fifteen-actions")
def test_there_are_fifteen_actions_and_an_example_of_each() -> None:
    assert len(ACTIONS) == 15
    assert {action.type for action in EXAMPLES} == set(ACTIONS)
    for action in EXAMPLES:
        tabled = {name for name, known in ACTIONS[action.type].parameters.items() if known.tabled}
        assert set(action.parameters) == tabled


@pytest.mark.parametrize("action", EXAMPLES, ids=lambda action: str(action.type))
@pytest.mark.documents("two-forms")
def test_both_forms_of_an_action_are_good_and_mean_the_same(action: Action) -> None:
    typed, keyed = action.to_json(), {action.type: dict(action.parameters)}
    checked = check_answer({"actions": [typed, keyed]})
    assert checked.problems == ()
    assert checked.actions == (action, action)


@pytest.mark.parametrize("action", EXAMPLES, ids=lambda action: str(action.type))
@pytest.mark.documents("fifteen-actions")
def test_each_required_parameter_is_missed_and_each_other_is_not(action: Action) -> None:
    parameters = ACTIONS[action.type].parameters
    required = [name for name, known in parameters.items() if known.required]
    assert _problems({"type": action.type}) == [
        (f"actions[0].{name}", "is missing") for name in required
    ]
    assert _problems({action.type: {}}) == [
        (f"actions[0].{action.type}.{name}", "is missing") for name in required
    ]


@pytest.mark.parametrize(
    ("action", "name", "good", "bad"), BOUNDS, ids=[f"{row[0].type}.{row[1]}" for row in BOUNDS]
)
@pytest.mark.documents(
    "wss-only", "three-tracks", "gather", "send-digits", "redirect", "conference"
)
def test_every_documented_bound_holds_at_its_edge_and_breaks_beyond(
    action: Action, name: str, good: tuple[object, ...], bad: tuple[object, ...]
) -> None:
    for value in good:
        assert _problems({**action.to_json(), name: value}) == []
        assert _problems({action.type: {**action.parameters, name: value}}) == []
    for value in bad:
        ((path, _),) = _problems({**action.to_json(), name: value})
        assert path == f"actions[0].{name}"
        ((path, _),) = _problems({action.type: {**action.parameters, name: value}})
        assert path == f"actions[0].{action.type}.{name}"


def test_the_bounds_table_leaves_no_documented_parameter_out() -> None:
    documented = {
        (type, name)
        for type, rule in ACTIONS.items()
        for name, known in rule.parameters.items()
        if known.tabled
    }
    assert {(action.type, name) for action, name, _, _ in BOUNDS} == documented


def test_documented_defaults_are_known_without_being_written() -> None:
    assert gather().get("num_digits") == 1 and gather().parameters == {}
    assert redirect("http://a.example").get("method") == "GET"
    assert redirect("http://a.example", method="POST").get("method") == "POST"
    assert start_stream(URL, None).get("track") is None
    assert hold().get("anything") is None
    assert Action("dance", {"step": 1}).get("step") == 1


@pytest.mark.parametrize(
    ("type", "effect", "ends_list"),
    [
        ("say", "waits", False),
        ("gather", "waits", False),
        ("send_digits", "next", False),
        ("redirect", "replaces", False),
        ("transfer", "ends", True),
        ("bridge", "ends", True),
        ("conference", "ends", True),
        *[
            (name, "next", False)
            for name in ACTIONS
            if name.partition("_")[0] in ("hold", "resume", "mute", "unmute", "start", "stop")
        ],
    ],
)
@pytest.mark.documents("transfer", "bridge", "stream-actions")
def test_each_action_has_its_documented_effect_on_the_list(
    type: str, effect: str, ends_list: bool
) -> None:
    assert ACTIONS[type].effect == effect
    assert ACTIONS[type].ends_list is ends_list


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"min_digits": 3, "max_digits": 2}, "min_digits"),
        ({"num_digits": 3, "max_digits": 2}, "num_digits"),
        ({"num_digits": 1, "min_digits": 2}, "num_digits"),
    ],
)
def test_counts_of_gather_that_contradict_each_other_are_a_fault(
    given: dict[str, int], place: str
) -> None:
    ((path, message),) = _problems({"gather": given})
    assert path == f"actions[0].gather.{place}"
    assert "than m" in message


def test_counts_of_gather_that_agree_are_good() -> None:
    assert _problems({"gather": {"num_digits": 2, "min_digits": 2, "max_digits": 2}}) == []
    assert _problems({"gather": {"min_digits": 4}}) == []


def test_a_count_that_is_bad_by_itself_is_not_compared() -> None:
    assert _problems({"gather": {"min_digits": "3", "max_digits": 2}}) == [
        ("actions[0].gather.min_digits", "is a string, not a number")
    ]
    assert _problems({"gather": {"min_digits": 10**5000, "max_digits": 2}}) == [
        ("actions[0].gather.min_digits", "is a number too large to read")
    ]


@pytest.mark.parametrize("type", ["transfer", "bridge"])
@pytest.mark.documents("two-spellings")
def test_the_second_spelling_is_taken_and_warned_of(type: str) -> None:
    checked = check_answer(
        {"actions": [{"type": type, "to": "+15551230002", "from": "+15551230001"}]}
    )
    assert checked.valid
    (action,) = checked.actions
    assert action == Action(type, {"destination": "+15551230002", "from": "+15551230001"})
    to, sender = checked.warnings
    assert (to.path, to.mend) == ("actions[0].to", "write destination")
    assert sender.path == "actions[0].from"
    assert "in an example of the documentation, not in its table" in sender.message


@pytest.mark.documents("two-spellings")
def test_bridge_is_also_shown_with_a_timeout_and_transfer_is_not() -> None:
    destination = {"destination": "+15551230002", "timeout_seconds": 20}
    assert _warnings({"bridge": destination}) == [
        (
            "actions[0].bridge.timeout_seconds",
            "is in an example of the documentation, not in its table",
        )
    ]
    assert _warnings({"transfer": destination}) == [
        ("actions[0].transfer.timeout_seconds", "is not a parameter of transfer")
    ]


def test_the_second_spelling_has_the_bounds_of_the_first() -> None:
    ((path, message),) = _problems({"transfer": {"to": "5551"}})
    assert path == "actions[0].transfer.to" and "E.164" in message


@pytest.mark.parametrize("names", [("to", "destination"), ("destination", "to")])
def test_both_spellings_at_once_are_a_fault(names: tuple[str, str]) -> None:
    assert _problems({"transfer": dict.fromkeys(names, "+15551230002")}) == [
        ("actions[0].transfer.to", "says once more what destination says")
    ]


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        ("hold", "", "is a string, not an object"),
        (None, "", "is null, not an object"),
        (["hold"], "", "is a list, not an object"),
        (True, "", "is a boolean, not an object"),
        ({}, "", "is an empty object"),
        ({"stream_url": URL, "track": "both"}, "", 'has no "type" and no action as its only key'),
        ({"dance": {}}, ".dance", "'dance' is not an action"),
        ({"x y": {}}, "['x y']", "'x y' is not an action"),
        ({"type": "dance"}, ".type", "'dance' is not an action"),
        ({"type": ""}, ".type", "'' is not an action"),
        ({"type": 5}, ".type", "is a number, not a string"),
        ({"type": None}, ".type", "is null, not a string"),
        ({"type": ["hold"]}, ".type", "is a list, not a string"),
        ({"hold": None}, ".hold", "is null, not an object"),
        ({"hold": []}, ".hold", "is a list, not an object"),
        ({"start_stream": URL}, ".start_stream", "is a string, not an object"),
        ({"hold": {}, "resume": {}}, "", "has the keys 'hold', 'resume', where one action alone"),
        ({"hold": {}, "note": 1}, "", "has the keys 'hold', 'note', where one action alone"),
        ({"type": "hold", "resume": {}}, "", "is both typed and keyed: 'hold' and resume"),
        ({"type": "hold", "mute": {}}, "", "is both typed and keyed: 'hold' and mute"),
    ],
)
def test_an_entry_of_the_wrong_form_is_one_fault(entry: object, place: str, message: str) -> None:
    ((path, found),) = _problems(entry)
    assert path == "actions[0]" + place
    assert message in found


def test_a_typed_action_with_a_bad_type_and_another_action_as_key_has_both_faults() -> None:
    assert [path for path, _ in _problems({"type": "dance", "hold": {}})] == [
        "actions[0]",
        "actions[0].type",
    ]


def test_every_action_of_an_entry_with_several_is_checked() -> None:
    entry: dict[str, object] = {"mute": {"direction": "x"}, "say": {}, "hold": 1}
    assert [path for path, _ in _problems(entry)] == [
        "actions[0]",
        "actions[0].mute.direction",
        "actions[0].say.text",
        "actions[0].hold",
    ]


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("startstream", "write start_stream"),
        ("Start-Stream", "write start_stream"),
        ("unhold", "write hold"),
        ("say ", "write say"),
    ],
)
def test_an_unknown_action_is_mended_by_the_nearest_one(name: str, mend: str) -> None:
    forms: tuple[dict[str, object], ...] = ({"type": name}, {name: {}})
    for entry in forms:
        (problem,) = check_answer({"actions": [entry]}).problems
        assert problem.mend == mend


def test_where_none_is_near_all_actions_are_named() -> None:
    (problem,) = check_answer({"actions": [{"type": "xyzzy"}]}).problems
    assert all(name in problem.mend for name in ACTIONS)


def test_mute_is_a_parameter_of_conference_and_no_second_action() -> None:
    assert _problems({"type": "conference", "room": "a", "mute": True}) == []
    assert _problems({"type": "conference", "room": "a", "mute": {}}) == [
        ("actions[0].mute", "is an object, not a boolean")
    ]


def test_unknown_fields_are_warned_of_and_left_out() -> None:
    checked = check_answer(
        {"version": 1, "actions": [{"type": "start_stream", "stream_url": URL, "tracks": "both"}]}
    )
    assert checked.actions == (start_stream(URL, None),)
    assert [(warning.path, warning.mend) for warning in checked.warnings] == [
        ("version", "drop it: MiniVoice documents no such field"),
        ("actions[0].tracks", "write track, if that was meant"),
    ]
    assert _warnings({"hold": {"music": "x"}}) == [
        ("actions[0].hold.music", "is not a parameter of hold")
    ]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (transfer("+15551230002"), "is not run: transfer at actions[1] ends the list"),
        (conference("a"), "is not run: conference at actions[1] ends the list"),
        (
            redirect("https://a.example"),
            "is not run once redirect at actions[1] goes on with another list",
        ),
    ],
)
def test_actions_that_no_call_comes_to_are_warned_of_once(action: Action, message: str) -> None:
    entries = [hold().to_json(), action.to_json(), hold().to_json(), transfer("+123").to_json()]
    assert _warnings(*entries) == [("actions[2]", message)]
    assert _warnings(*entries[:2]) == []


def test_a_faulty_action_ends_no_list() -> None:
    checked = check_answer({"actions": [{"transfer": {}}, {"hold": {}}]})
    assert checked.actions == (None, hold()) and checked.warnings == ()


def test_every_fault_of_a_document_is_reported_at_once_and_the_good_entries_stay() -> None:
    checked = check_answer(
        {"actions": [5, {"hold": {}}, {"type": "gather", "timeout_seconds": 31, "num_digits": 0}]}
    )
    assert [problem.path for problem in checked.problems] == [
        "actions[0]",
        "actions[2].timeout_seconds",
        "actions[2].num_digits",
    ]
    assert checked.actions == (None, hold(), None)
    assert [len(checked.problems_of(index)) for index in range(4)] == [1, 0, 2, 0]


def test_problems_of_one_entry_are_not_those_of_its_tenfold() -> None:
    checked = check_answer({"actions": [{"hold": {}}] * 10 + [5]})
    assert checked.problems_of(1) == () and len(checked.problems_of(10)) == 1


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b"", "", "is empty"),
        (b"\xff", "", "is not UTF-8"),
        (b"<html>", "", "is not JSON"),
        (b"[" * 100_000, "", "is nested deeper than 64 levels"),
        (b"[]", "", "is a list, not an object"),
        (b"null", "", "is null, not an object"),
        (b"{}", "actions", "is missing"),
        (b'{"actions": {}}', "actions", "is an object, not a list"),
        (b'{"actions": null}', "actions", "is null, not a list"),
        (b'\xef\xbb\xbf{"actions": [{"hold": {}}]}', "", "begins with a byte order mark"),
        (b'{"actions": [], "actions": [{"hold": {}}]}', "", "has the key 'actions' more than once"),
        (b'{"actions": [{"hold": {}, "hold": {}}]}', "actions[0]", "has the key 'hold' more than"),
        (b'{"actions": [{"say": {"text": "\\ud83d"}}]}', "actions[0].say.text", "half of a surr"),
        (b'{"actions": [{"gather": {"num_digits": NaN}}]}', "actions[0].gather.num_digits", "NaN"),
        (
            b'{"actions": [{"gather": {"num_digits": %s}}]}' % (b"1" * 9999),
            "actions[0].gather.num_digits",
            "is a number too large",
        ),
        (b'{"actions": [{"hold": {"x": [Infinity]}}]}', "actions[0].hold.x[0]", "too large"),
        (
            b'{"actions": [{"hold": {"x": %s}}]}' % (b"[" * 70 + b"]" * 70),
            "actions[0].hold.x" + "[0]" * 14 + "…",
            "is nested deeper than 64 levels",
        ),
    ],
)
@pytest.mark.documents("a-list-run-in-order")
def test_a_bad_document_is_one_problem_and_never_an_exception(
    body: bytes, path: str, message: str
) -> None:
    checked = read_answer(body)
    (problem,) = checked.problems
    assert problem.path == path and message in problem.message and problem.mend
    assert not checked.valid


def test_an_entry_that_json_cannot_carry_is_not_usable_though_its_parameters_are() -> None:
    checked = read_answer('{"actions": [{"say": {"text": "a", "text": "b"}}, {"hold": {}}]}')
    assert checked.actions == (None, hold())
    checked = read_answer('{"actions": [{"hold": {"note": NaN}}]}')
    assert checked.actions == (None,)


def test_an_empty_list_is_good_but_warned_of() -> None:
    checked = read_answer('{"actions": []}')
    assert checked.valid and checked.actions == ()
    assert [warning.path for warning in checked.warnings] == ["actions"]


def test_a_flood_of_faults_is_cut_and_nothing_beyond_the_cut_is_usable() -> None:
    entries: list[Any] = [5] * (MAX_PROBLEMS + 50) + [{"hold": {}}]
    checked = check_answer({"actions": entries})
    assert len(checked.problems) == MAX_PROBLEMS + 1
    assert checked.problems[-1].path == "actions"
    assert checked.problems[-1].message.endswith("and from entry 100 was not read")
    assert checked.actions == (None,) * len(entries)


def test_as_many_faults_as_may_be_listed_are_listed_without_a_remark() -> None:
    checked = check_answer({"actions": [5] * MAX_PROBLEMS})
    assert len(checked.problems) == MAX_PROBLEMS


def test_one_entry_with_a_flood_of_faults_is_cut_too() -> None:
    flood = {name: 5 for name in ("prompt", "finish_on_key", "num_digits")}
    entries: list[object] = [5] * (MAX_PROBLEMS - 1) + [{"gather": flood}]
    checked = check_answer({"actions": entries})
    assert len(checked.problems) == MAX_PROBLEMS


def test_a_flood_of_what_json_cannot_carry_is_cut() -> None:
    checked = check_answer({"actions": [{"hold": {"x": [math.nan] * 1000}}, {"hold": {}}]})
    assert len(checked.problems) == MAX_PROBLEMS + 1
    assert checked.actions == (None, None)


def test_a_flood_of_unknown_fields_is_cut() -> None:
    checked = check_answer({"actions": [{"hold": {f"f{n}": n for n in range(1000)}}]})
    assert checked.valid and len(checked.warnings) == MAX_PROBLEMS


def test_an_answer_is_written_in_the_typed_form_where_nothing_else_is_said() -> None:
    answer = Answer(start_stream(URL, track="inbound"), say("Grüße"))
    assert answer.actions[1].get("text") == "Grüße"
    assert json.loads(answer.encode()) == answer.to_json()
    assert answer.to_json() == {
        "actions": [
            {"type": "start_stream", "stream_url": URL, "track": "inbound"},
            {"type": "say", "text": "Grüße"},
        ]
    }
    assert "Grüße".encode() in answer.encode()


@pytest.mark.parametrize("action", EXAMPLES, ids=lambda action: str(action.type))
def test_every_action_can_be_written_in_the_keyed_form_and_means_the_same(action: Action) -> None:
    keyed = action.keyed()
    assert keyed.to_json() == {action.type: dict(action.parameters)}
    assert keyed == action and keyed.keyed().to_json() == keyed.to_json()
    assert (action.form, keyed.form, repr(keyed)) == ("typed", "keyed", repr(action))
    assert check_answer({"actions": [keyed.to_json()]}).actions == (action,)


def test_both_forms_may_be_mixed_in_one_answer_of_ours() -> None:
    answer = Answer(start_stream(URL).keyed(), say("Hi"), hold().keyed())
    assert json.loads(answer.encode())["actions"] == [
        {"start_stream": {"stream_url": URL, "track": "both"}},
        {"type": "say", "text": "Hi"},
        {"hold": {}},
    ]
    read = read_answer(answer.encode())
    assert [action and action.form for action in read.actions] == ["keyed", "typed", "keyed"]
    assert read.types == ("start_stream", "say", "hold")


def test_an_answer_of_ours_in_the_keyed_form_is_checked_as_well() -> None:
    answer = Answer(start_stream("https://media.example.com/minivoice", "speaker").keyed())
    assert [problem.path for problem in answer.problems()] == [
        "actions[0].start_stream.stream_url",
        "actions[0].start_stream.track",
    ]
    (problem,) = Answer(Action("dance").keyed()).problems()
    assert problem.path == "actions[0].dance"


def test_an_entry_with_faults_is_still_known_by_its_type_where_that_can_be_read() -> None:
    entries: list[object] = [
        {"type": "start_stream", "stream_url": "https://m.example.com"},
        {"say": {"text": 3}},
        {"type": "hold"},
        {"type": "dance"},
        {"dance": {}},
        {"hold": {}, "say": {"text": "Hi"}},
        {"hold": 3},
        17,
    ]
    checked = check_answer({"actions": entries})
    assert checked.types == ("start_stream", "say", "hold", None, None, None, None, None)
    assert [action is None for action in checked.actions] == [n != 2 for n in range(8)]


def test_start_stream_asks_for_both_tracks_where_nothing_else_is_said() -> None:
    assert start_stream(URL).parameters["track"] == "both"


def test_an_answer_of_ours_is_checked_as_the_platform_would() -> None:
    answer = Answer(start_stream("https://media.example.com/minivoice", "speaker"))
    assert [problem.path for problem in answer.problems()] == [
        "actions[0].stream_url",
        "actions[0].track",
    ]
    with pytest.raises(LocalProtocolError, match=r"actions\[0\].track: 'speaker' is not"):
        answer.encode()


def test_an_action_made_by_hand_with_an_unknown_type_is_refused_before_it_leaves() -> None:
    assert [problem.path for problem in Answer(Action("dance")).problems()] == ["actions[0].type"]


@pytest.mark.parametrize(
    "value", [{1}, b"x", 10**5000, object()], ids=["set", "b", "int", "object"]
)
def test_an_action_that_json_cannot_carry_is_a_problem_of_its_entry(value: object) -> None:
    answer = Answer(hold(), Action("say", {"text": value}))
    (problem,) = answer.problems()
    assert problem.path == "actions[1]" and "what JSON cannot carry" in problem.message
    with pytest.raises(LocalProtocolError):
        answer.encode()


def test_a_circular_parameter_is_a_problem_too() -> None:
    circular: list[object] = []
    circular.append(circular)
    assert len(Answer(Action("say", {"text": circular})).problems()) == 1
    checked = check_answer({"actions": [{"hold": {"x": circular}}]})
    assert checked.actions == (hold(),)


def test_nan_in_an_answer_of_ours_is_found_at_its_place() -> None:
    (problem,) = Answer(Action("gather", {"timeout_seconds": math.nan})).problems()
    assert problem.path == "actions[0].timeout_seconds"


def test_an_answer_takes_actions_only() -> None:
    with pytest.raises(TypeError, match="made of actions, not of an object"):
        Answer({"type": "hold"})  # type: ignore[arg-type]


def test_an_action_cannot_be_changed_through_its_parameters() -> None:
    parameters: dict[str, object] = {"text": "a"}
    action = Action("say", parameters)
    parameters["text"] = "b"
    assert action == say("a")
    with pytest.raises(TypeError):
        action.parameters["text"] = "b"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        action.type = "hold"  # type: ignore[misc]


def test_a_parameter_named_type_does_not_change_the_type() -> None:
    assert Action("hold", {"type": "say"}).to_json() == {"type": "hold"}


def test_actions_and_answers_are_shown_without_the_secrets_of_a_url() -> None:
    answer = Answer(start_stream("wss://h.example/stream/abcdefSECRET", "both"), say("Hi"), hold())
    assert repr(answer) == (
        "Answer(actions=(start_stream(stream_url='wss://h.example/stream/abcdef…', track='both'),"
        " say(text='Hi'), hold()))"
    )
    assert repr(send_digits("1", pause_before_ms=5)) == "send_digits(digits='1', pause_before_ms=5)"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*ACTIONS, URL]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([*ACTIONS, "type", "track", "stream_url", "to", "destination"]) | st.text(),
        inner,
        max_size=4,
    ),
    max_leaves=15,
)


@settings(max_examples=200)
@given(st.lists(json_values, max_size=4))
def test_no_json_document_makes_the_check_raise(entries: list[object]) -> None:
    for document in ({"actions": entries}, entries):
        checked = check_answer(document)
        assert checked.valid == (not checked.problems)
        assert read_answer(json.dumps(document)).problems == checked.problems
    assert len(checked.actions) == 0
    checked = check_answer({"actions": entries})
    assert len(checked.actions) == len(checked.types) == len(entries)
    for index, action in enumerate(checked.actions):
        assert (action is None) == bool(checked.problems_of(index))


@given(st.binary() | st.text())
def test_no_body_makes_the_reading_raise(body: bytes | str) -> None:
    assert not read_answer(body).valid or read_answer(body).actions is not None


numbers = st.integers(0, 30)
good_actions = st.one_of(
    st.sampled_from(EXAMPLES),
    st.builds(say, st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)),
    st.builds(gather, timeout_seconds=st.integers(1, 30), finish_on_key=st.sampled_from("0*#D")),
    st.builds(send_digits, st.text("0123456789*#ABCDwW,", min_size=1)),
    st.builds(conference, st.text("abcXYZ019.-_", min_size=1), mute=st.booleans()),
    st.builds(start_stream, st.just(URL), st.sampled_from(["inbound", "outbound", "both", None])),
    st.builds(stop_stream, st.sampled_from([URL, None]), st.sampled_from(["inbound", None])),
)


@given(st.lists(good_actions, max_size=5))
def test_what_an_answer_encodes_validates_and_reads_back_the_same(actions: list[Action]) -> None:
    answer = Answer(*actions)
    assert answer.problems() == ()
    checked = read_answer(answer.encode())
    assert checked.valid and checked.actions == tuple(actions)


@given(st.sampled_from(sorted(ACTIONS)), st.dictionaries(st.text(), json_values, max_size=3))
def test_both_forms_of_any_action_have_the_same_faults_and_give_the_same_action(
    type: str, given_parameters: dict[str, object]
) -> None:
    parameters = {
        key: value
        for key, value in given_parameters.items()
        if key not in ACTIONS and key != "type"
    }
    typed = check_answer({"actions": [{"type": type, **parameters}]})
    keyed = check_answer({"actions": [{type: parameters}]})
    assert typed.actions == keyed.actions
    assert [problem.message for problem in typed.problems] == [
        problem.message for problem in keyed.problems
    ]
    assert [problem.path for problem in typed.problems] == [
        problem.path.replace(f"actions[0].{type}", "actions[0]", 1) for problem in keyed.problems
    ]
