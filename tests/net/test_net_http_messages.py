"""Requests and responses as values: what is decoded, what is refused, what is never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from minivoice_ref.net.http import Request, Response, header_value, refuse_method, tokens
from minivoice_ref.net.http_messages import decode_path, reason_phrase
from minivoice_ref.protocol.errors import RemoteProtocolError


def a_request(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "method": "POST",
        "target": "/",
        "path": "/",
        "query": "",
        "headers": (),
    }
    return Request(**(fields | changes))


def test_headers_are_found_in_any_case_and_joined() -> None:
    headers = (("X-One", "1"), ("x-two", "a"), ("X-TWO", "b"))
    request = a_request(headers=headers)
    assert request.header("x-ONE") == "1"
    assert request.header("X-Two") == "a, b"
    assert request.header("x-three") is None
    assert request.header("x-three", "0") == "0"
    assert Response(200, b"", headers).header("x-one") == "1"
    assert header_value(headers, "nothing") is None


def test_comma_lists_lose_their_blanks() -> None:
    assert tokens(" a ,, b,") == ["a", "b"]
    assert tokens(None) == tokens("") == []


@pytest.mark.parametrize(
    ("raw", "path"),
    [("/", "/"), ("/a%20b", "/a b"), ("/%C3%A9", "/é"), ("//a", "//a"), ("/a.b/..c", "/a.b/..c")],
)
def test_a_path_is_decoded_once(raw: str, path: str) -> None:
    assert decode_path(raw) == path


@pytest.mark.parametrize(
    "raw", ["/..", "/a/../b", "/./a", "/%2E%2e/", "/a%2fb", "/%00", "/%0A", "/%7f", "/a\\b", "/%ff"]
)
def test_a_path_that_only_an_attack_needs_is_refused(raw: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        decode_path(raw)
    assert refused.value.status == 400


def test_the_query_and_the_form_are_read_as_fields() -> None:
    assert a_request(query="a=1&b=&a=2&c=%C3%A9").query_values == {"a": "2", "b": "", "c": "é"}
    assert a_request(body=b"a=1+2&b=%26").form() == {"a": "1 2", "b": "&"}


@pytest.mark.parametrize("text", ["a=%ff", "&".join(f"a{n}=1" for n in range(300))])
def test_fields_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        _ = a_request(query=text).query_values
    with pytest.raises(RemoteProtocolError):
        a_request(body=text.encode()).form()


def test_a_form_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        a_request(body=b"a=\xff").form()


def test_a_json_body_is_read() -> None:
    assert a_request(body=b'{"a": [1, "\xc3\xa9"]}').json() == {"a": [1, "é"]}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"NaN", b"-Infinity", b'{"a":1}x', b"[" * 100_000, b"9" * 10_000],
    ids=["empty", "open", "not utf-8", "nan", "infinity", "trailing", "deep", "huge number"],
)
def test_a_body_that_is_not_json_is_the_peers_fault(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        a_request(body=body).json()
    assert refused.value.status == 400


def test_a_body_of_another_type_is_refused_with_415() -> None:
    request = a_request(headers=(("Content-Type", "Application/JSON; charset=utf-8"),))
    assert request.media_type == "application/json"
    request.expect_media_type("text/plain", "application/json")
    with pytest.raises(RemoteProtocolError) as refused:
        request.expect_media_type("text/plain")
    assert refused.value.status == 415
    assert a_request().media_type == ""


def test_a_wrong_method_is_answered_405_with_what_is_allowed() -> None:
    refusal = refuse_method(a_request(method="DELETE"), ["GET", "POST"])
    assert refusal is not None
    assert (refusal.status, refusal.header("allow")) == (405, "GET, HEAD, POST")
    for method in ("GET", "HEAD", "POST"):
        assert refuse_method(a_request(method=method), ["GET", "POST"]) is None
    only = refuse_method(a_request(method="HEAD"), ("POST",))
    assert only is not None and only.header("allow") == "POST"


def test_a_repr_shows_no_secret() -> None:
    request = a_request(
        target="/stream/secret-token?key=secret",
        path="/stream/secret-token",
        query="key=secret",
        headers=(("Authorization", "secret"),),
        body=b"secret",
        peer="192.0.2.1:1",
    )
    assert "secret-token" not in repr(request) and "=secret" not in repr(request)
    assert "192.0.2.1:1" in repr(request) and "POST" in repr(request)
    assert "unknown" in repr(a_request())
    assert "secret" not in repr(Response(200, b"secret", (("Set-Cookie", "secret"),)))


def test_responses_are_made_of_documents_texts_and_problems() -> None:
    document = Response.json({"é": 1}, 201, (("X", "y"),))
    assert json.loads(document.body) == {"é": 1}
    assert (document.status, document.header("x")) == (201, "y")
    assert document.header("content-type") == "application/json"
    assert Response.text("é").body == "é".encode()
    assert json.loads(Response.problem(404).body) == {"error": "Not Found"}
    assert json.loads(Response.problem(403, "no token").body) == {"error": "no token"}
    assert Response(204).ok and not Response(302).ok and not Response(500).ok
    assert reason_phrase(799) == "Unknown"
