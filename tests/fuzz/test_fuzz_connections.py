"""Every run: hostile HTTP and hostile frames, made by Hypothesis, against readings of our own."""

from __future__ import annotations

import struct

from fuzzed_frames import LIMIT, TRANSPORTS, check_frames
from fuzzed_http import check_request, check_response
from fuzzed_reader import check_reader
from hypothesis import example, given, settings
from hypothesis import strategies as st

BRIEFLY = settings(derandomize=True, deadline=None, database=None, max_examples=100)

_cuts = st.lists(st.integers(0, 10**6), max_size=4)
_line_ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"", b"\x0b\r\n"])
_bad_ends = st.sampled_from(
    [b"\n", b"\n", b"\r", b"\r\r\n", b"", b"\x0b\r\n", b"\n\n", b"\r\n\r\n"]
)
_headers = st.sampled_from(
    [
        b"Host: x", b"Content-Length: 5", b"Content-Length: 0", b"content-length:5",
        b"Content-Length: 6",
        b"Content-Length: 5, 5", b"Content-Length: +5", b"Content-Length : 5",
        b"Content-Length: 0x5",
        b"Transfer-Encoding: chunked", b"transfer-encoding:chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked",
        b" Content-Length: 7", b"\tTransfer-Encoding: chunked", b"X: \xff",
        b"Content_Length: 3", b"X:", b": x", b"nonsense", b"X: a\x00b", b"Expect: 100-continue",
        b"Connection: close", b"Connection: Upgrade",
        b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Content-Length:5\rX: y",
        b"X: y\nContent-Length: 5",
    ]
)  # fmt: skip
_firsts = st.sampled_from(
    [b"POST / HTTP/1.1"] * 6
    + [b"GET /a?b=c HTTP/1.1", b"POST / HTTP/1.0", b"GET http://x/y HTTP/1.1", b"POST  / HTTP/1.1",
       b"GET /%2e%2e HTTP/1.1", b"GET /\xff HTTP/1.1", b"\r\nPOST / HTTP/1.1", b"G HTTP/1.1", b""]
)  # fmt: skip
_body = st.sampled_from(
    [
        b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\n", b"\r\n", b"5;x=y\r\nhello\r\n",
        b"0\n\n", b"\n",
        b"5\nhello\n", b"0\r\nX: a\n\r\n", b"0\r\nX: a\r\n\r\n", b"05\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"5 \r\nhello\r\n", b"5\r\nhelloXX", b"-5\r\n", b"0x5\r\nhello\r\n",
        b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n",
        b"5;\n\r\nhello\r\n", b"5;a\r\r\nhello\r\n", b"0;\r\n\r\n", b"\x00",
    ]
)  # fmt: skip


_good = st.sampled_from(
    [
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"5;x=y\r\nhello\r\n05\r\nworld\r\n0\r\nX: y\r\n\r\n"),
        (b"Content-Length: 5", b"hello"),
        (b"Connection: close", b""),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A good request with a few changes such as attacks are made of, and what comes behind it."""
    header, body = draw(_good)
    lines = [b"POST / HTTP/1.1", b"Host: x", header]
    ends = [b"\r\n"] * 4
    for change in draw(
        st.lists(st.sampled_from(["first", "header", "end", "body", "cut"]), max_size=3)
    ):
        if change == "first":
            lines[0] = draw(_firsts)
        elif change == "header":
            lines.insert(draw(st.integers(1, len(lines))), draw(_headers))
            ends.append(b"\r\n")
        elif change == "end":
            ends[draw(st.integers(0, len(ends) - 1))] = draw(_bad_ends)
        elif change == "body":
            body = b"".join(draw(st.lists(_body, min_size=1, max_size=4)))
        elif body:
            at = draw(st.integers(0, len(body) - 1))
            body = body[:at] + draw(_bad_ends) + body[at + draw(st.integers(0, 2)) :]
    head = b"".join(line + end for line, end in zip([*lines, b""], ends, strict=True))
    return head + body + draw(st.sampled_from([b"", b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n"]))


@settings(BRIEFLY, max_examples=200)
@given(data=requests(), cuts=_cuts)
@example(data=b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhellohello", cuts=[3, 60])
def test_a_request_has_one_meaning_or_none(data: bytes, cuts: list[int]) -> None:
    check_request(data, cuts)


_status_lines = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 4
    + [b"HTTP/1.1 100 ", b"HTTP/1.1 101 x", b"HTTP/1.1 204 x", b"HTTP/1.0 200 OK", b"HTTP/1.1 99 x",
       b"HTTP/1.1 2000 x", b"HTTP/2 200", b"HTTP/1.1 200 \xff", b"", b"HTTP/1.1 500", b"ICY 200 OK"]
)  # fmt: skip


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """One response or several, some of whose lines are no such thing."""
    parts: list[bytes] = []
    for _ in range(draw(st.integers(1, 2))):
        parts += [draw(_status_lines), draw(_line_ends)]
        for _ in range(draw(st.integers(0, 3))):
            parts += [draw(_headers), draw(_line_ends)]
        parts.append(draw(_line_ends))
        parts += draw(st.lists(_body, max_size=3))
    return b"".join(parts)


@BRIEFLY
@given(data=responses(), cuts=_cuts)
def test_a_response_is_bounded_or_refused(data: bytes, cuts: list[int]) -> None:
    check_response(data, cuts)


_payloads = st.sampled_from(
    [b"", b"x", b"hello", "é".encode(), "💩".encode(), b"\xc3", b"\xa9", b"\xff", b"\xed\xa0\x80",
     b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xf0\x9f", b"\x92\xa9", b"a" * 125, b"a" * 126,
     b"b" * LIMIT,
     b"b" * (LIMIT + 1), "é".encode() * (LIMIT // 2), b"\x03\xe8", b"\x03\xe8bye", b"\x03\xe8\xff",
     b"\x03\xed", b"\x00\x00", b"\x0b\xb8", b"\x13\x88", b"\x03\xf4", b"\x04"]
)  # fmt: skip
_kinds = st.sampled_from([1] * 6 + [0] * 5 + [2] * 4 + [9] * 3 + [10, 8, 3, 7, 11, 15])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames of which some are such as no client may send."""
    data = b""
    for _ in range(draw(st.integers(0, 6))):
        payload = draw(_payloads)
        first = draw(_kinds) | draw(st.sampled_from([0x80] * 5 + [0] * 3 + [0xC0, 0x90, 0x20]))
        masked = draw(st.sampled_from([0x80] * 12 + [0]))
        size = draw(st.sampled_from(["right"] * 12 + ["wide", "wider", "lie", "negative", "huge"]))
        length = len(payload) + (5 if size == "lie" else 0)
        if size == "negative" or size == "huge":
            data += struct.pack(
                "!BBQ", first, masked | 127, (2**63 if size[0] == "n" else 2**40) + 7
            )
        elif size == "wider" or length > 65535:
            data += struct.pack("!BBQ", first, masked | 127, length)
        elif size == "wide" or length > 125:
            data += struct.pack("!BBH", first, masked | 126, length)
        else:
            data += bytes([first, masked | length])
        key = draw(st.sampled_from([b"\0\0\0\0", b"\x37\xfa\x21\x3d"])) if masked else b""
        covered = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if key else payload
        data += key + covered
    return data[: draw(st.sampled_from([len(data)] * 4 + [max(0, len(data) - 3)]))]


@BRIEFLY
@given(data=frames(), cuts=_cuts)
def test_frames_mean_what_the_reference_says(data: bytes, cuts: list[int]) -> None:
    for transport in TRANSPORTS:
        check_frames(data, cuts, transport)


@settings(BRIEFLY, max_examples=400)
@given(data=frames(), cuts=_cuts)
def test_the_fast_reading_is_told_from_the_librarys_by_nobody(data: bytes, cuts: list[int]) -> None:
    check_reader(data, cuts)
    check_reader(data, range(len(data)))
