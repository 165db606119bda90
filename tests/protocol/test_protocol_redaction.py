"""What is written down holds no secret, stays short and garbles no terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.redaction import (
    REDACTED,
    escape,
    excerpt,
    redact_headers,
    redact_path,
    redact_subprotocols,
    redact_text,
    redact_url,
)
from minivoice_ref.protocol.signing import mint_token

TOKEN = mint_token("key", "call_20260529T120000.000000000", 1780056600)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "PROXY-AUTHORIZATION",
        "cookie",
        "Set-Cookie",
        "X-MiniVoice-Signature",
        "X-Twilio-Signature",
        "x-telnyx-streaming-auth-token",
        "X-Client-Secret",
        "X-Api-Key",
        "x_api_key",
        "apikey",
        "X-Password",
        "X-Credential",
        "X-Auth",
        "XAuth",
        "X-Access-Key",
        "X-Amz-Security-Token",
        "X-JWT",
        "authcode",
        "streamkey",
        "userpwd",
        "apikey_id",
        "key",
        "X-Sig-Value",
        "hmac-hex",
    ],
)
def test_the_value_of_a_secret_header_is_replaced(name: str) -> None:
    assert redact_headers([(name, "hunter2")]) == [(name, REDACTED)]


def test_other_headers_stay_in_their_order() -> None:
    headers = [
        ("Host", "media.example.com"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("X-MiniVoice-Timestamp", "1780056600"),
        ("Host", "again"),
    ]
    assert redact_headers(iter(headers)) == headers


def test_a_token_in_another_headers_value_is_cut() -> None:
    (_, uri), (_, other) = redact_headers(
        [("X-Original-URI", f"/stream/{TOKEN}?a=1"), ("X-Note", f"see {TOKEN}, please")]
    )
    assert uri == f"/stream/{TOKEN[:6]}…?a=1"
    assert other == f"see {TOKEN[:6]}…, please"


def test_a_url_in_a_headers_value_is_shown_without_its_secrets() -> None:
    assert redact_headers([("Referer", "https://u:pw@h/page?token=abc&page=2")]) == [
        ("Referer", f"https://{REDACTED}@h/page?token={REDACTED}&page=2")
    ]


def test_only_known_subprotocols_are_shown() -> None:
    headers = [("sec-websocket-protocol", "bearer, eyJhbGciOi.J9, audio.example,media")]
    known = {"audio.example", "media"}
    assert redact_headers(headers, subprotocols=known) == [
        ("sec-websocket-protocol", f"{REDACTED}, {REDACTED}, audio.example, media")
    ]
    assert "eyJ" not in str(redact_headers(headers))
    assert redact_subprotocols(["media", "eyJ"], known) == ["media", REDACTED]


@pytest.mark.parametrize(
    "name",
    ["Author", "authority", "keyboard", "keynote", "sign", "design", "X-Request-Id", "stream"],
)
def test_a_name_that_only_looks_like_a_secrets_is_shown(name: str) -> None:
    assert redact_headers([(name, "shown")]) == [(name, "shown")]
    assert redact_path(f"/answer?{name}=shown") == f"/answer?{name}=shown"
    member = json.dumps({name: "shown"})
    assert excerpt(member, 400) == member


def test_no_header_can_forge_a_line_of_the_log() -> None:
    assert redact_headers([("X-A\r\nB", "1\r\n2\x1b[31m\u202e")]) == [
        ("X-A\\r\\nB", "1\\r\\n2\\x1b[31m\\u202e")
    ]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/answer", "/answer"),
        ("/stream/abcdefghijk", "/stream/abcdef…"),
        ("/stream/abc", "/stream/abc…"),
        ("/stream/", "/stream/"),
        ("/stream/abcdefghijk/more?x=1#y", "/stream/abcdef…/more?x=1#y"),
        ("/prefix/stream/abcdefghijk", "/prefix/stream/abcdef…"),
        ("//stream//abcdefghijk", "//stream//abcdef…"),
        ("/STREAM/abcdefghijk", "/STREAM/abcdef…"),
        ("/%73tream/abcdefghijk", "/stream/abcdef…"),
        ("/stream%2Fabcdefghijk", "/stream/abcdef…"),
        ("/a%20b", "/a%20b"),
        ("/stream/abcdefghijk/a%20b", "/stream/abcdef…/a%20b"),
        ("/answer?token=abc&call_id=c1", f"/answer?token={REDACTED}&call_id=c1"),
        ("/answer?call_id=c1;sig=abc", f"/answer?call_id=c1;sig={REDACTED}"),
        ("/answer?%74oken=abc", f"/answer?%74oken={REDACTED}"),
        ("/answer?ACCESS_TOKEN=a=b&x", f"/answer?ACCESS_TOKEN={REDACTED}&x"),
        ("/cb#access_token=abc", f"/cb#access_token={REDACTED}"),
        ("/x\r\n\x1b[2J", "/x\\r\\n\\x1b[2J"),
        ("/\x85\u2028\ud800", "/\\x85\\u2028\\ud800"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_a_path_is_shown_without_its_secrets(path: str, shown: str) -> None:
    assert redact_path(path) == shown
    assert redact_path(shown) == shown


def test_a_token_is_known_by_its_shape_wherever_it_stands() -> None:
    assert redact_path(f"/media/{TOKEN}") == f"/media/{TOKEN[:6]}…"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://media.example.com/minivoice", "wss://media.example.com/minivoice"),
        ("wss://h:8443/stream/abcdefghijk?t=1", "wss://h:8443/stream/abcdef…?t=1"),
        ("https://user:hunter2@h/a@b", f"https://{REDACTED}@h/a@b"),
        ("https://user:p@ss@h/", f"https://{REDACTED}@h/"),
        ("https://h/?api_key=hunter2", f"https://h/?api_key={REDACTED}"),
        ("http://[broken:port/stream/abcdefghijk", "http://[broken:port/stream/abcdef…"),
        ("not a url", "not a url"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert redact_url(shown) == shown


def test_an_excerpt_of_a_short_message_is_the_message() -> None:
    message = '{"event":"connected","protocol":"Call"}'
    assert excerpt(message, 400) == message
    assert excerpt(b"\x00\xff", 400) == "00ff"
    assert excerpt("", 10) == "" and excerpt(b"", 10) == ""


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 10, 11])
def test_an_excerpt_is_never_longer_than_its_limit(limit: int) -> None:
    for message in ("x" * 1000, b"x" * 1000, "\n" * 1000):
        shown = excerpt(message, limit)
        assert len(shown) == limit
        assert limit == 0 or shown.endswith("…")


def test_an_excerpt_fills_its_limit_exactly_without_an_ellipsis() -> None:
    assert excerpt("x" * 10, 10) == "x" * 10
    assert excerpt(b"xy", 4) == "7879"
    assert excerpt(b"xyz", 4) == "787…"


@pytest.mark.parametrize(
    "member",
    [
        '"authorization": "Bearer hunter2"',
        '"authToken":"hunter2"',
        '"client_secret" : "hun\\"ter2 hunter2"',
        '"token": "hunter2',
        '"token": "hunter2\\',
        '"auth":"hunter2"',
        '"jwt": "hunter2',
        '"token":667.2ter2',
        '"secret": ter2',
    ],
)
def test_values_under_secret_keys_of_a_json_message_are_replaced(member: str) -> None:
    shown = excerpt('{"a": "b", ' + member, 400)
    assert "ter2" not in shown
    assert shown.startswith('{"a": "b", ') and shown.endswith('"[redacted]"')


@pytest.mark.parametrize("value", ["12345", "-1.5e3", "true", '"s3"'])
def test_a_message_with_a_secret_of_any_kind_is_still_json(value: str) -> None:
    shown = excerpt(f'{{"token":{value}, "n":[1,2], "o":{{"auth" :{value}}}}}', 400)
    assert json.loads(shown) == {"token": REDACTED, "n": [1, 2], "o": {"auth": REDACTED}}


def test_a_message_that_names_our_url_shows_no_token_even_at_its_edge() -> None:
    message = json.dumps({"url": f"wss://h/stream/{TOKEN}", "custom": {"t": TOKEN}})
    for limit in range(len(message) + 1):
        assert TOKEN[:8] not in excerpt(message, limit)
    assert excerpt(message, 400).endswith(f'"custom": {{"t": "{TOKEN[:6]}…"}}}}')


def test_a_huge_message_is_not_read_to_its_end_for_an_excerpt() -> None:
    assert len(excerpt('"' * 10**6, 100)) == 100
    assert len(excerpt('"a":"' + "\\" * 10**6, 100)) <= 100


def test_printable_text_of_any_language_is_left_as_it_is() -> None:
    assert escape("Grüß Gott, 你好") == "Grüß Gott, 你好"


@given(st.text())
def test_what_is_escaped_is_printable_and_stays_so(text: str) -> None:
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)


@given(st.text() | st.binary(), st.integers(0, 50))
def test_every_excerpt_is_printable_and_bounded(message: str | bytes, limit: int) -> None:
    shown = excerpt(message, limit)
    assert len(shown) <= limit and shown.isprintable()


@given(st.text(), st.text())
def test_no_surroundings_bring_a_token_to_light(before: str, after: str) -> None:
    for redact in (redact_path, redact_url, lambda text: excerpt(text, 10**4)):
        assert TOKEN not in redact(f"{before}/stream/{TOKEN}{after}")


def test_a_key_of_the_telephone_is_no_secret() -> None:
    text = '{"gather": {"finish_on_key": "#", "api_key": "abc"}}'
    assert redact_text(text) == '{"gather": {"finish_on_key": "#", "api_key": "[redacted]"}}'


def test_a_secret_in_json_that_came_as_binary_is_hidden_too() -> None:
    message = b'{"customParameters": {"token": "t0p-secret"}}'
    assert excerpt(message, 200) == '{"customParameters": {"token": "[redacted]"}}'
    assert excerpt(b"{\xff\x7f", 200) == "7bff7f"
