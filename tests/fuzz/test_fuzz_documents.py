"""Every run: hostile answers, webhooks, tokens, signatures, captures and log lines."""

from __future__ import annotations

import json
from typing import Any

from fuzzed_documents import (
    NOW,
    check_answer,
    check_capture,
    check_event,
    check_minting,
    check_redaction,
    check_signature,
    check_token,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from minivoice_ref.protocol.action_table import ACTIONS
from minivoice_ref.protocol.signing import mint_token, sign_webhook

BRIEFLY = settings(derandomize=True, deadline=None, database=None, max_examples=80)

_absurd: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, 0, -1, 10**20, 1e300, float("nan"), float("inf"), "", "x", "x" * 5000, "\ud800",
        "\x00\r\n\x1b[2J", "wss://x/y", "ws://x", "wss://[", "both", "inbound", "+15551234567",
        "2026-05-29T12:10:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:60-23:59", [], {}, [[]],
    ]
)  # fmt: skip
_hostile = st.recursive(
    _absurd | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_names = sorted({name for action in ACTIONS.values() for name in action.parameters} | {"type"})


_good: list[dict[str, Any]] = [
    {"type": "start_stream", "stream_url": "wss://x/y", "track": "both"},
    {"type": "say", "text": "hello"},
    {"type": "hold"},
    {"type": "stop_recording"},
    {"type": "transfer", "to": "+15551234567"},
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer in either form, with good, bad and absurd values."""
    entries: list[Any] = []
    for _ in range(draw(st.integers(0, 4))):
        fields = dict(draw(st.sampled_from(_good)))
        kind = fields.pop("type")
        if draw(st.sampled_from([False, False, True])):
            kind = draw(st.sampled_from([*ACTIONS, "", "nonsense"]))
            fields |= draw(st.dictionaries(st.sampled_from(_names), _hostile, max_size=3))
        entries.append({"type": kind, **fields} if draw(st.booleans()) else {kind: fields})
    document = draw(st.sampled_from([{"actions": entries}, entries, {"action": entries}]))
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    return _spoilt(draw, text.encode("utf-8", "surrogatepass"))


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event's envelope with good, bad and absurd values."""
    document: dict[str, Any] = {
        "event": "call.completed",
        "created_at": "2026-05-29T12:10:00.5+02:00",
        "call": {"id": "call_1", "status": "completed", "from": "+1", "sip": {"a": 1}},
        "variables": {"a": "b"},
        "data": {"digits": "12", "n": 1.5},
    }
    for _ in range(draw(st.integers(0, 2))):
        where = draw(st.sampled_from([document, document["call"]]))
        if isinstance(where, dict):
            name = draw(st.sampled_from([*where, "extra"])) if where else "extra"
            where[name] = draw(_hostile)
        if not isinstance(document.get("call"), dict):
            break
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    return _spoilt(draw, text.encode("utf-8", "surrogatepass"))


def _spoilt(draw: st.DrawFn, body: bytes) -> bytes:
    """*body*, mostly as it is; sometimes cut, marked, doubled, deep or with a byte changed."""
    how = draw(
        st.sampled_from(["good"] * 6 + ["cut", "mark", "twice", "byte", "deep", "double key"])
    )
    at = draw(st.integers(0, len(body)))
    if how == "cut":
        return body[:at]
    if how == "mark":
        return b"\xef\xbb\xbf" + body
    if how == "twice":
        return body + body
    if how == "byte":
        return body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]
    if how == "deep":
        return b'{"a":' * at + body + b"}" * at
    if how == "double key":
        return body.replace(b'{"', b'{"event": 1, "event": 2, "', 1)
    return body


@BRIEFLY
@given(body=answers() | st.binary(max_size=40))
def test_any_answer_is_good_or_all_its_faults_are_told(body: bytes) -> None:
    check_answer(body)


@BRIEFLY
@given(body=events() | st.binary(max_size=40))
def test_any_webhook_is_an_event_or_all_its_faults_are_told(body: bytes) -> None:
    check_event(body)


_token_text = st.text(alphabet="AZaz09._-\u0661", max_size=90)


@BRIEFLY
@given(text=_token_text | st.text(max_size=20))
def test_no_token_is_read_that_we_did_not_make(text: str) -> None:
    check_token(text)
    check_token(mint_token("another key", text[:200] or "x", NOW + 10))
    check_token(f"{'A' * 43}.{int(NOW + 10) * 1000}.{text}")


@BRIEFLY
@given(
    subject=st.text(st.characters(), min_size=1, max_size=60),
    cut=st.integers(0, 500),
    instead=st.sampled_from(["", "A", "B", ".", "=", "-", "_", "\n", "0"]),
)
def test_a_token_that_was_changed_anywhere_is_refused(subject: str, cut: int, instead: str) -> None:
    check_minting(subject, cut, instead)


_times = st.sampled_from(
    ["", "0", "1780000000", "1780000000000", "1780000000.5", "99999999999999999999", "-1", "1e9",
     "2026-05-28T20:26:40Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "١٧٨", "NaN"]
)  # fmt: skip


@BRIEFLY
@given(
    timestamp=_times | st.text(max_size=12),
    signature=st.sampled_from(["", "v1=", "v1=" + "0" * 64, "v1=" + "é" * 64, "v2=" + "0" * 64])
    | st.text(max_size=70),
    body=st.binary(max_size=20),
)
def test_a_signature_is_the_right_one_or_refused(
    timestamp: str, signature: str, body: bytes
) -> None:
    check_signature(timestamp, signature, body)
    if _is_sendable(timestamp):
        check_signature(timestamp, sign_webhook("a-key-of-ours", timestamp, body), body)


def _is_sendable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


_HANDSHAKE = {
    "capture": "minivoice",
    "version": 1,
    "stream_id": "s",
    "began": "2026",
    "headers": [],
}
_RECORDS: list[dict[str, Any]] = [
    {"at": 0.5, "from": "platform", "type": "text", "data": "{}"},
    {"at": 1, "from": "receiver", "type": "binary", "data": "AAEC"},
    {"at": 2, "type": "lost", "messages": 3, "bytes": 4},
    {"at": 3, "type": "end", "how": "stopped", "by": "platform", "code": 1000, "reason": ""},
]


@st.composite
def captures(draw: st.DrawFn) -> list[bytes]:
    """The lines of a capture, some of them with absurd fields, cut or missing."""
    lines = []
    for number in range(draw(st.integers(0, 6))):
        document = dict(_HANDSHAKE if number == 0 else draw(st.sampled_from(_RECORDS)))
        if draw(st.booleans()):
            document[draw(st.sampled_from([*document, "settings", "subprotocols"]))] = draw(
                _hostile
            )
        line = json.dumps(document).encode()
        lines.append(line[: draw(st.sampled_from([len(line)] * 5 + [len(line) // 2]))] + b"\n")
    return lines


@BRIEFLY
@given(lines=captures())
def test_any_capture_is_read_as_far_as_it_goes(lines: list[bytes]) -> None:
    check_capture(lines)


_TOKEN = mint_token("a-key-of-ours", "call:call_1", NOW)
_pieces = st.sampled_from(
    [_TOKEN, "/stream/", "wss://u:p@x", "?token=", "&a=b", '{"', '"password":', '"', '\\"', ":",
     "%2f", "%", "\r\n", "\x1b", "/", "#", "x" * 50, "{", "}", "[", ",", "secret", "=", " ",
     "\u202e", "1.2"]
)  # fmt: skip


@BRIEFLY
@given(parts=st.lists(_pieces | st.text(max_size=4), max_size=12))
def test_no_log_shows_a_whole_token_or_breaks_its_line(parts: list[str]) -> None:
    text = "".join(parts)
    check_redaction(text, _TOKEN)
    check_redaction(text.encode("utf-8", "replace"), _TOKEN)
