"""What each kind of parameter takes and refuses, bound by bound."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.parameters import (
    DESTINATION,
    DIGITS,
    DTMF_KEY,
    FLAG,
    PROMPT,
    ROOM,
    TEXT,
    Kind,
    one_of,
    url,
    whole_number,
)

WSS = url("wss")
WEB = url("http", "https")


def _faults(kind: Kind, value: object) -> list[str]:
    return list(kind.faults(value))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (whole_number(1, 30), 1),
        (whole_number(1, 30), 30),
        (whole_number(0), 10**18),
        (one_of("GET", "POST"), "POST"),
        (FLAG, True),
        (FLAG, False),
        (TEXT, "Grüß Gott"),
        (PROMPT, ""),
        (ROOM, "Room-1.a_b"),
        (DTMF_KEY, "#"),
        (DTMF_KEY, "D"),
        (DIGITS, "0123456789*#ABCDwW,"),
        (DESTINATION, "+15551230002"),
        (DESTINATION, "+12"),
        (DESTINATION, "+123456789012345"),
        (DESTINATION, "sip:agent@example.com"),
        (DESTINATION, "SIPS:agent:pw@10.0.0.1:5061;transport=tls?subject=x"),
        (DESTINATION, "sip:example.com"),
        (DESTINATION, "sip:+15551230002@[2001:db8::1]:5060"),
        (DESTINATION, "sip:a%20b@example.com."),
        (WSS, "wss://media.example.com/minivoice"),
        (WSS, "WSS://media.example.com"),
        (WSS, "wss://localhost:8443/stream/t.o-k_en?x=1&y=%20"),
        (WSS, "wss://[::1]:1/"),
        (WSS, "wss://127.0.0.1:65535"),
        (WSS, "wss://example.com./"),
        (WSS, "wss://xn--bcher-kva.example/"),
        (WEB, "http://example.com/next"),
        (WEB, "https://user:pw@example.com/next#part"),
    ],
)
def test_a_good_value_has_no_fault(kind: Kind, value: object) -> None:
    assert _faults(kind, value) == []


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (whole_number(1, 30), 0, "0 is out of range"),
        (whole_number(1, 30), 31, "31 is out of range"),
        (whole_number(1), -1, "-1 is out of range"),
        (whole_number(1, 30), True, "is a boolean, not a number"),
        (whole_number(1, 30), "5", "is a string, not a number"),
        (whole_number(1, 30), 5.5, "5.5 is not a whole number"),
        (whole_number(1, 30), 5.0, "5.0 is not a whole number"),
        (whole_number(1, 30), None, "is null, not a number"),
        (one_of("GET", "POST"), "post", "'post' is not GET or POST"),
        (one_of("read", "write"), "wirte", "'wirte' is not read or write (write was meant?)"),
        (one_of("a", "b", "c"), 1, "is a number, not a string"),
        (FLAG, 1, "is a number, not a boolean"),
        (FLAG, "true", "is a string, not a boolean"),
        (TEXT, "", "is empty"),
        (TEXT, " \n", "' \\n' is not a text"),
        (PROMPT, ["hello"], "is a list, not a string"),
        (ROOM, "", "is empty"),
        (ROOM, "room 1", "'room 1' is not a room's name"),
        (ROOM, "raum\u00e9", "'raumé' is not a room's name"),
        (ROOM, "a\n", "'a\\n' is not a room's name"),
        (DTMF_KEY, "", "is empty"),
        (DTMF_KEY, "12", "'12' is not one DTMF key"),
        (DTMF_KEY, "a", "'a' is not one DTMF key"),
        (DTMF_KEY, "w", "'w' is not one DTMF key"),
        (DTMF_KEY, "\u0665", "'\u0665' is not one DTMF key"),
        (DIGITS, "", "is empty"),
        (DIGITS, "1 2", "'1 2' is not digits"),
        (DIGITS, "E", "'E' is not digits"),
        (DIGITS, 12, "is a number, not a string"),
        (DESTINATION, "15551230002", "'15551230002' is not an E.164 number or a SIP URI"),
        (DESTINATION, "+05551230002", "is not an E.164"),
        (DESTINATION, "+1234567890123456", "is not an E.164"),
        (DESTINATION, "+1", "is not an E.164"),
        (DESTINATION, "+1 555 123", "is not an E.164"),
        (DESTINATION, "+1555123000\u0662", "is not an E.164"),
        (DESTINATION, "+15551230002\n", "is not an E.164"),
        (DESTINATION, "tel:+15551230002", "is not an E.164"),
        (DESTINATION, "sip:", "is not an E.164"),
        (DESTINATION, "sip:agent@", "is not an E.164"),
        (DESTINATION, "sip:a b@example.com", "is not an E.164"),
        (DESTINATION, "sip:agent@exam_ple-.com", "is not an E.164"),
        (WSS, "", "'' is not a URL"),
        (WSS, "wss://exa mple.com/", "is not a URL"),
        (WSS, "wss://example.com/\n", "is not a URL"),
        (WSS, "wss://example.com/%zz", "is not a URL"),
        (WSS, "wss://b\u00fccher.example/", "is not a URL"),
        (WSS, "wss://[::1/", "is not a URL"),
        (WSS, "wss://example.com:65536/", "is not a URL"),
        (WSS, "wss://example.com:port/", "is not a URL"),
        (WSS, "media.example.com/minivoice", "is not a URL"),
        (WSS, "ws://media.example.com/", "has the scheme ws, not wss"),
        (WSS, "wss:///minivoice", "has no usable host"),
        (WSS, "wss://:443/", "has no usable host"),
        (WSS, "wss://-example.com/", "has no usable host"),
        (WSS, "wss://example..com/", "has no usable host"),
        (WSS, "wss://example.com:0/", "has no usable host"),
        (WSS, "wss://" + "a." * 127 + "com/", "has no usable host"),
        (WSS, "wss://user:pw@example.com/", "names a user, which a WebSocket URL cannot"),
        (WSS, "wss://example.com/#part", "has a fragment, which a WebSocket URL cannot"),
        (WSS, 5, "is a number, not a string"),
        (WEB, "ftp://example.com/", "has the scheme ftp, not http or https"),
    ],
)
def test_a_bad_value_has_one_fault_that_says_why(kind: Kind, value: object, message: str) -> None:
    (found,) = _faults(kind, value)
    assert message in found


def test_a_number_too_long_to_print_is_out_of_range() -> None:
    assert _faults(whole_number(1, 30), 10**5000) == ["a number is out of range"]


def test_every_fault_of_a_url_is_reported_at_once() -> None:
    found = _faults(WSS, "https://user@/#x")
    assert [fault.partition(" ")[2] for fault in found] == [
        "has the scheme https, not wss",
        "has no usable host",
        "names a user, which a WebSocket URL cannot",
        "has a fragment, which a WebSocket URL cannot",
    ]


def test_a_fault_quotes_no_secret_of_a_url() -> None:
    secrets = "https://user:hunter2@example.com/stream/abcdefSECRETSECRET?token=SECRET"
    for fault in _faults(WSS, secrets):
        assert "hunter2" not in fault and "SECRET" not in fault


@pytest.mark.parametrize(
    "kind", [whole_number(1, 30), FLAG, TEXT, PROMPT, ROOM, DTMF_KEY, DIGITS, DESTINATION, WSS]
)
@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary())
def test_no_value_makes_a_check_raise(kind: Kind, value: object) -> None:
    assert all(isinstance(fault, str) for fault in kind.faults(value))


@given(st.from_regex(r"wss://[a-z0-9.\-\[\]:@/?#]{0,20}", fullmatch=True))
def test_a_good_stream_url_has_the_host_that_python_sees_in_it(address: str) -> None:
    if not _faults(WSS, address):
        parts = urlsplit(address)
        assert parts.scheme == "wss" and parts.hostname and not parts.username


@given(st.integers(10, 10**15 - 1))
def test_every_number_of_e164_is_a_destination(number: int) -> None:
    assert _faults(DESTINATION, f"+{number}") == []
