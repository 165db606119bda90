"""What fuzzing has found, each as the case that it was. None may come back."""

from __future__ import annotations

from fuzzed_documents import check_capture
from fuzzed_http import check_request
from fuzzed_stream import check_session

_CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_NEXT = b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n"


def test_trailers_that_end_with_a_bare_line_feed_hide_no_request() -> None:
    check_request(_CHUNKED + b"0\r\n\n" + _NEXT, [])
    check_request(_CHUNKED + b"0\r\nX: a\n\r\n" + _NEXT, [])
    check_request(_CHUNKED + b"5\r\nhello\r\n0\r\nX: a\n\n" + _NEXT, [70])


def test_the_refusal_of_a_hostile_capture_can_be_printed() -> None:
    for version in (b'"\\ud800"', b'"\\u001b[2J"', b'"a\\nb"', b"[" * 500 + b"]" * 500):
        check_capture([b'{"capture":"minivoice","version":' + version + b"}"])


def test_starts_that_contradict_each_other_and_settle_nothing_end_a_session_quietly() -> None:
    one = '{"event":"start","streamId":"a","start":{"callId":"1","mediaFormat":{}}}'
    two = '{"event":"start","streamId":"b","start":{"callId":"2","mediaFormat":{}}}'
    for reader in ("twilio", "telnyx", "auto"):
        check_session(reader, [one, two])


def test_a_contradiction_that_was_held_back_ends_a_session_quietly() -> None:
    start = (
        '{"event":"start","sequence_number":"%d","stream_id":"%s","start":{"call_control_id":"c",'
        '"media_format":{"encoding":"PCMU","sample_rate":8000,"channels":1}}}'
    )
    for reader in ("telnyx", "auto"):
        check_session(reader, [start % (1, "a"), start % (5, "b")])
        check_session(reader, [start % (1, "a"), start % (5, "b"), start % (6, "a")])
