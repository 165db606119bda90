"""Every run: hostile messages for dialects, detection, sessions and timelines."""

from __future__ import annotations

import json
from typing import Any

from fuzzed_stream import NAMES, check_detection, check_dialect, check_session, check_timeline
from hypothesis import given, settings
from hypothesis import strategies as st

from minivoice_ref.protocol.dialects.detect import encoder_named
from minivoice_ref.protocol.media import Started, WireMessage
from minivoice_ref.protocol.timeline import HOLES

BRIEFLY = settings(derandomize=True, deadline=None, database=None, max_examples=80)

_absurd = st.sampled_from(
    [
        0, -1, 2**31, -(2**31), 2**53, 2**63, 10**30, 1e300, 0.5, -0.0, float("nan"), float("inf"),
        "", "0", "-5", "1e400", "0x10", "NaN", " 7 ", "1_000", "١٢", "\x00", "\r\n",
        "\ud800", "a\udfff", "\udc00\ud800", "💩",
        "AAAA", "AAA", "AA==", "AA=A", "!", "inbound", "outbound", "start", "media", "stop",
        "audio/x-mulaw", "audio/l16;rate=16000", "PCMU", "../../etc/passwd", "x" * 300,
        True, False, None, 8000, 16000, 1, 2,
    ]
)  # fmt: skip
_nested = st.recursive(
    _absurd | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_hostile = st.one_of(_absurd, _absurd, _absurd, _nested)


def speech(name: str) -> list[WireMessage]:
    """A short stream as the simulator sends it."""
    encoder = encoder_named(name)
    start = Started(
        name,
        encoder.formats[0],
        encoder.tracks_for(("inbound", "outbound")),
        stream_id=encoder.stream_id("0123456789abcdef" * 2),
        call_id="call_1",
        account_id="A1",
    )
    messages = encoder.connected() + encoder.start(start)
    for number in range(3):
        for track in start.tracks:
            messages += encoder.media(track, bytes(8), round(number * encoder.frame_seconds * 1000))
    return messages + encoder.digit("5") + encoder.mark("m") + encoder.stop()


SPEECH = {name: speech(name) for name in NAMES if name != "raw"}


def _change(draw: st.DrawFn, document: Any, depth: int = 0) -> Any:
    """*document* with one thing in it replaced, left out, added or doubled."""
    if not isinstance(document, dict) or not document or depth > 3:
        return draw(_hostile)
    name = draw(st.sampled_from(sorted(document)))
    how = draw(st.sampled_from(["deeper"] * 6 + ["replace", "drop", "rename", "add"]))
    changed = dict(document)
    if how == "deeper":
        changed[name] = _change(draw, document[name], depth + 1)
    elif how == "replace":
        changed[name] = draw(_hostile)
    elif how == "drop":
        del changed[name]
    elif how == "rename":
        changed[draw(st.sampled_from(["streamSid", "event", "media", "track", "x"]))] = changed.pop(
            name
        )
    else:
        changed[draw(st.sampled_from(["timestamp", "payload", "sequenceNumber", "y"]))] = draw(
            _hostile
        )
    return changed


_FATES = ["as it is"] * 4 + ["changed"] * 8 + ["cut", "foreign", "raw"]


@st.composite
def messages(draw: st.DrawFn, name: str) -> list[WireMessage]:
    """A stream of the dialect, some of whose messages are changed, moved, repeated or foreign."""
    result: list[WireMessage] = []
    own = SPEECH.get(name, [bytes(320)])
    for _ in range(draw(st.integers(0, 8))):
        one: WireMessage = draw(st.sampled_from(own))
        how = draw(st.sampled_from(_FATES))
        if how == "changed" and isinstance(one, str) and one.startswith("{"):
            one = json.dumps(_change(draw, json.loads(one)))
        elif how == "cut":
            one = one[: draw(st.integers(0, len(one)))]
        elif how == "foreign":
            one = draw(st.sampled_from(SPEECH[draw(st.sampled_from(sorted(SPEECH)))]))
        elif how == "raw":
            one = draw(st.binary(max_size=12) | st.text(max_size=12).filter(_is_sendable))
        if draw(st.sampled_from([False, False, False, True])):
            one = one.encode() if isinstance(one, str) else one
        result.append(one)
    return result


def _is_sendable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


any_dialect = st.sampled_from(sorted(NAMES))


@BRIEFLY
@given(data=st.data(), name=any_dialect, reader=any_dialect)
def test_a_dialect_makes_something_usable_of_any_messages(
    data: st.DataObject, name: str, reader: str
) -> None:
    said = data.draw(messages(name))
    check_dialect(name, said)
    check_dialect(reader, said)


@BRIEFLY
@given(data=st.data(), name=any_dialect)
def test_detection_has_an_answer_for_any_messages(data: st.DataObject, name: str) -> None:
    check_detection(data.draw(messages(name)))


@BRIEFLY
@given(data=st.data(), name=any_dialect, reader=st.sampled_from(["auto", "minivoice", *NAMES]))
def test_a_session_keeps_its_rules_whatever_comes(
    data: st.DataObject, name: str, reader: str
) -> None:
    said = data.draw(messages(name))
    check_session(reader, said)
    check_session("auto", said)


_positions = (
    st.none()
    | st.integers(-50, 400)
    | st.sampled_from(
        [10**9, -(10**9), 2**53, -(2**53), 2**62, 8000 * 3600, 8000 * 3600 + 1, -8000 * 3600 - 1]
    )
)


@BRIEFLY
@given(
    pieces=st.lists(st.tuples(_positions, st.integers(-1, 60)), max_size=40),
    jump=st.sampled_from([0.0, 0.01, 1.0, 3600.0]),
)
def test_a_timeline_balances_whatever_a_clock_says(
    pieces: list[tuple[int | None, int]], jump: float
) -> None:
    check_timeline(8000, jump, pieces)


@settings(BRIEFLY, max_examples=5)
@given(seed=st.randoms(use_true_random=False))
def test_a_timeline_balances_with_more_holes_than_it_remembers(seed: Any) -> None:
    pieces: list[tuple[int | None, int]] = [(10 * n, 5) for n in range(2 * HOLES)]
    seed.shuffle(pieces)
    check_timeline(8000, 3600.0, pieces + pieces[:50])
