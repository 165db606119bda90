"""Strangers at the front door. Every abuse ends with: and the next caller is served.

Memory streams and virtual time, so that deadlines are exact and cost nothing.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.front_door import Door, serve_doors
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.testing import MemoryNetwork, MemoryStream, living_tasks
from net_parties import both_ways  # noqa: F401  # each test runs both ways
from net_parties import (
    HANDSHAKE,
    HOST,
    PORT,
    EchoSite,
    close_frame,
    frame,
    open_connected,
    open_house,
    read_all,
    read_close,
    read_frame,
    read_head,
    rough_socket,
)
from trio.testing import MockClock

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


def upgrade(**changes: str) -> bytes:
    """The good handshake with some of its headers changed; an empty value leaves one out."""
    lines = HANDSHAKE.removesuffix("\r\n").split("\r\n")
    for name, value in changes.items():
        header = name.replace("_", "-")
        lines = [line for line in lines if not line.lower().startswith(header.lower() + ":")]
        if value:
            lines.append(f"{header}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


CHUNKED = b"POST /answer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ABUSE: dict[str, tuple[bytes, int]] = {
    # what is sent, and the status that refuses it
    "garbage": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "a request line that is none": (b"hello\r\n\r\n", 400),
    "tls on the plain port": (bytes.fromhex("160301020001000001fc0303") + bytes(200), 400),
    "the http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: y\r\n\r\n", 400),
    "a host that is not ascii": (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400),
    "a host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "an endless head": (GET + b"X: " + b"a" * 70000, 431),
    "a head too big that comes at once": (GET + b"X: " + b"a" * 20000 + b"\r\n\r\n", 431),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "a folded header": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "a space before the colon": (GET + b"X : a\r\n\r\n", 400),
    "a nul in a header": (GET + b"X: a\x00b\r\n\r\n", 400),
    "a length and an encoding": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an encoding and a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths that differ": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
    "two lengths that agree": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "a list of lengths": (POST + b"Content-Length: 1, 1\r\n\r\na", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a plus": (POST + b"Content-Length: +1\r\n\r\na", 400),
    "an enormous length": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "an encoding nobody knows": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
    "chunked in http/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a bad chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "endless trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 70000,
        431,
    ),
    "a body too big, announced": (POST + b"Content-Length: 65537\r\n\r\n" + b"a" * 1000, 413),
    "a body too big, in chunks": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"a" * 0x4000 + b"\r\n") * 5,
        413,
    ),
    "an expectation nobody knows": (POST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
    "a path that climbs": (b"GET /a/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a path that climbs, encoded": (b"GET /%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an encoded slash": (b"GET /stream%2Fabc HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an encoded nul": (b"GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an encoded line break": (b"GET /a%0d%0ab HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a backslash": (b"GET /a%5Cb HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a path that is not utf-8": (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 400),
    "another scheme": (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a broken absolute url": (b"GET http://[x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a method nobody knows": (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "a body of the wrong type": (
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        415,
    ),
    "a body that is not json": (
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{]",
        400,
    ),
    "an upgrade without a key": (upgrade(Sec_WebSocket_Key=""), 400),
    "an upgrade with a short key": (upgrade(Sec_WebSocket_Key="YWJj"), 400),
    "an upgrade with a key that is not base64": (upgrade(Sec_WebSocket_Key="\xff" * 24), 400),
    "an upgrade without a version": (upgrade(Sec_WebSocket_Version=""), 426),
    "an upgrade to an old version": (upgrade(Sec_WebSocket_Version="8"), 426),
    "an upgrade without connection": (upgrade(Connection="keep-alive"), 400),
    "an upgrade with a body": (upgrade(Content_Length="5") + b"hello", 400),
    "an upgrade in chunks": (upgrade(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400),
    "http/2.0 in the words of 1.1": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "a trailer behind a chunked body": (CHUNKED + b"0\r\nX: a\r\n\r\n", 400),
    "a trailer that ends with a bare line feed": (CHUNKED + b"0\r\nX: a\n\r\nGET /", 400),
    "a chunked body that ends with a bare line feed": (CHUNKED + b"0\r\n\nGET /", 400),
    "an upgrade by post": (upgrade().replace(b"GET", b"POST"), 400),
    "an upgrade in http/1.0": (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "an upgrade whose host is not ascii": (upgrade(Host="\xff"), 400),
    "an upgrade to nowhere": (upgrade().replace(b"/stream/abc", b"/nowhere"), 404),
    "a crash of the site": (b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    "a crash of the site at an upgrade": (upgrade().replace(b"/stream/abc", b"/crash"), 500),
    "a site that selects a subprotocol nobody proposed": (
        upgrade().replace(b"/stream/abc", b"/stream/wrong-subprotocol"),
        500,
    ),
}


@pytest.mark.parametrize(("data", "status"), ABUSE.values(), ids=list(ABUSE))
async def test_an_abusive_request_is_refused_and_the_next_caller_is_served(
    data: bytes, status: int, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        began = trio.current_time()
        async with await house.network.connect(HOST, PORT, False) as stream:
            # Bodies longer than the server reads must not keep us from hearing the refusal.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data)
                head = await read_head(stream)
            assert head.startswith(b"HTTP/1.1 %d " % status), head
            assert b"Connection: close" in head or status in (405,)
        assert trio.current_time() == began
        assert len(house.site.notes) == (0 if status in (404, 405) else 1)  # those are the site's
        await house.assert_next_caller_is_served()


@pytest.mark.parametrize(
    ("data", "status"),
    [case for name, case in ABUSE.items() if len(case[0]) < 300],
    ids=[name for name, case in ABUSE.items() if len(case[0]) < 300],
)
async def test_abuse_that_comes_byte_by_byte_is_refused_just_the_same(
    data: bytes, status: int, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_slowly, stream, data)
                head = await read_head(stream)
            assert head.startswith(b"HTTP/1.1 %d " % status), head
        await house.assert_next_caller_is_served()


async def _send_slowly(stream: trio.abc.Stream, data: bytes) -> None:
    await trio.lowlevel.checkpoint()
    with suppress(trio.BrokenResourceError):  # it is refused before its end
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.001)


@pytest.mark.parametrize(
    ("data", "status", "seconds"),
    [
        (b"", 0, 5),  # not a byte: nothing to answer
        (b"GET / HT", 408, 5),
        (POST + b"Content-Length: 10\r\n\r\nabc", 408, 10),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408, 10),
    ],
    ids=["not a byte", "half a head", "half a body", "half a chunk"],
)
async def test_a_client_that_falls_silent_is_closed_at_its_deadline(
    data: bytes, status: int, seconds: float, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        answer = await house.ask(data) if data else await _just_listen(house.network)
        assert trio.current_time() == pytest.approx(seconds)
        assert answer.startswith(b"HTTP/1.1 %d " % status if status else b"")
        assert house.site.kinds == ["refused" if status else "silent"]
        await house.assert_next_caller_is_served()


async def _just_listen(network: MemoryNetwork) -> bytes:
    async with await network.connect(HOST, PORT, False) as stream:
        return await read_all(stream)


async def test_a_head_that_trickles_has_one_deadline_for_the_whole(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            async with trio.open_nursery() as nursery:

                async def trickle() -> None:
                    with pytest.raises(trio.BrokenResourceError):
                        while True:
                            await stream.send_all(b"G")
                            await trio.sleep(1)

                nursery.start_soon(trickle)
                assert (await read_head(stream)).startswith(b"HTTP/1.1 408 ")
                assert trio.current_time() == pytest.approx(5)
                await stream.aclose()
                nursery.cancel_scope.cancel()
        await house.assert_next_caller_is_served()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", POST + b"Content-Length: 10\r\n\r\nabc"])
@pytest.mark.parametrize("how", ["eof", "close", "reset"])
async def test_a_client_that_leaves_half_way_leaves_nothing_behind(
    sent: bytes, how: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        stream = await house.network.connect(HOST, PORT, False)
        assert isinstance(stream, MemoryStream)
        if sent:
            await stream.send_all(sent)
        await trio.testing.wait_all_tasks_blocked()
        match how:
            case "eof":
                await stream.send_eof()
                assert await read_all(stream) == b""
            case "close":
                await stream.aclose()
            case "reset":
                stream.reset()
        await house.assert_next_caller_is_served()
        assert trio.current_time() == 0
        assert house.site.kinds == ["lost" if sent else "silent"]
        await stream.aclose()


async def test_a_client_that_does_not_take_its_answer_is_given_up(
    autojump_clock: MockClock,
) -> None:
    async with open_house(limits={"requests": 100_000}) as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            with pytest.raises(trio.BrokenResourceError):
                while True:  # request after request, and not one answer is read
                    await stream.send_all((GET + b"\r\n") * 100)
        assert trio.current_time() == pytest.approx(house.timeouts.send)
        assert house.site.kinds == ["lost"]
        await house.assert_next_caller_is_served()


async def test_a_refusal_is_read_by_a_client_that_is_still_sending(
    autojump_clock: MockClock,
) -> None:
    """Closing at once would reset the connection and destroy the 413 on its way."""
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(POST + b"Content-Length: 1000000\r\n\r\n")
            for _ in range(16):
                await stream.send_all(bytes(60000))
            answer = await read_head(stream)
        assert answer.startswith(b"HTTP/1.1 413 ")
        await house.assert_next_caller_is_served()


async def test_one_who_sends_for_ever_after_a_refusal_is_cut_off(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(b"garbage\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b"more")
                    await trio.sleep(0.1)
        assert trio.current_time() == pytest.approx(house.timeouts.close, abs=0.2)
        await house.assert_next_caller_is_served()


async def test_the_log_gets_the_exception_of_a_crash_and_the_peer_gets_none_of_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        answer = await house.ask(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"broken" not in answer
        [(kind, fields)] = house.site.notes
        assert kind == "failed"
        assert isinstance(fields["error"], RuntimeError)
        assert str(fields["peer"]).startswith("192.0.2.1:")


async def test_an_exception_group_does_not_pass_the_wall(autojump_clock: MockClock) -> None:
    class Grouping(EchoSite):
        async def handle_stream(self, socket: object, admission: object) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fail, "one")
                nursery.start_soon(self._fail, "two")

        async def _fail(self, word: str) -> None:
            await trio.lowlevel.checkpoint()
            raise ValueError(word)

    network, site, stop = MemoryNetwork(), Grouping(), trio.Event()
    door = Door([network.listener(HOST, PORT)], None, site)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve_doors, [door], stop, limits=Limits(), timeouts=Timeouts())
        )
        async with await network.connect(HOST, PORT, False) as stream:
            await stream.send_all(upgrade())
            await read_head(stream)
            assert await read_close(stream) == 1011
        stop.set()
    assert site.kinds == ["failed"]


async def test_secrets_in_a_bad_head_do_not_reach_the_log(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.ask(GET + b"Authorization: Bearer hunter2\x00\r\n\r\n")
        await house.ask(upgrade(Sec_WebSocket_Key="").replace(b"abc", b"secret-token-123"))
        assert "hunter2" not in repr(house.site.notes)
        assert "secret-token-123" not in repr(house.site.notes)


# -- good requests -----------------------------------------------------------------------------


async def test_a_connection_is_kept_for_the_next_request(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            for number in range(3):
                await stream.send_all(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
                assert b"Connection: close" not in await read_head(stream)
                assert b'"/%d"' % number in await stream.receive_some()
                await trio.sleep(house.timeouts.keep_alive - 1)
        await house.assert_next_caller_is_served()


async def test_requests_sent_in_one_go_are_answered_in_order(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        requests = b"".join(
            b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na" % n for n in range(5)
        )
        answer = await house.ask(requests + GET + b"Connection: close\r\n\r\n")
        order = [answer.index(b'"/%d"' % n) for n in range(5)]
        assert order == sorted(order)
        assert answer.count(b"HTTP/1.1 200 ") == 6


async def test_an_idle_connection_is_closed_after_its_deadline(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = await house.ask(GET + b"\r\n")
        assert answer.count(b"HTTP/1.1 200 ") == 1
        assert trio.current_time() == pytest.approx(house.timeouts.keep_alive)
        assert house.site.notes == []
        await house.assert_next_caller_is_served()


async def test_a_later_head_has_its_deadline_from_its_first_byte(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(GET + b"\r\n")
            await read_head(stream)
            await stream.receive_some()
            await trio.sleep(10)
            await stream.send_all(b"GET")
            assert (await read_head(stream)).startswith(b"HTTP/1.1 408 ")
            assert trio.current_time() == pytest.approx(15)


async def test_the_last_allowed_request_says_that_the_connection_closes(
    autojump_clock: MockClock,
) -> None:
    async with open_house(limits={"requests": 3}) as house:
        answer = await house.ask((GET + b"\r\n") * 5)
        assert answer.count(b"HTTP/1.1 200 ") == 3
        assert answer.count(b"Connection: close") == 1
        assert trio.current_time() == 0


async def test_head_is_answered_with_the_length_and_without_the_body(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        get = await house.ask(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = await house.ask(b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        length = [line for line in get.split(b"\r\n") if line.startswith(b"Content-Length")]
        assert length and length[0] in head


async def test_a_wrong_method_hears_which_ones_are_allowed(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = await house.ask(b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nAllow: GET, HEAD, POST\r\n" in answer


async def test_a_body_is_asked_for_only_where_it_is_wanted(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(
                POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
            )
            assert await read_head(stream) == b"HTTP/1.1 100 \r\n\r\n"
            await stream.send_all(b"hi")
            assert (await read_head(stream)).startswith(b"HTTP/1.1 200 ")
            assert b'"hi"' in await read_all(stream)
        too_big = POST + b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n"
        assert (await house.ask(too_big)).startswith(b"HTTP/1.1 413 ")


async def test_the_absolute_form_of_a_target_is_understood(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = await house.ask(
            b"GET http://x/a%20b?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert b'"/a b"' in answer
        bare = await house.ask(b"GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b'"/"' in bare


async def test_http_1_0_is_answered_and_closed(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = await house.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert trio.current_time() == 0


async def test_a_header_that_is_not_ascii_does_no_harm(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = await house.ask(GET + b"X-Name: Jos\xe9\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        async with rough_socket(house, extra="X-Name: José\r\n") as stream:
            await stream.send_all(frame(1, b"hello"))
            assert await read_frame(stream) == (1, b"hello")


# -- streams -----------------------------------------------------------------------------------


async def test_a_good_upgrade_becomes_a_stream(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with rough_socket(house) as stream:
            await stream.send_all(frame(1, b"hello") + frame(2, bytes(300)))
            assert await read_frame(stream) == (1, b"hello")
            assert await read_frame(stream) == (2, bytes(300))
            await stream.send_all(close_frame(1000))
            assert await read_close(stream) == 1000
            assert await read_all(stream) == b""
        assert house.site.ends == [(1000, True)]
        assert house.site.notes == []
        assert trio.current_time() == 0
        await house.assert_next_caller_is_served()


@pytest.mark.parametrize("gap", [0, 1])
async def test_frames_sent_with_the_handshake_are_not_lost(
    gap: int, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            data = upgrade() + frame(1, b"early")
            await stream.send_all(data[: len(data) - gap * 3])
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(data[len(data) - gap * 3 :])
            await read_head(stream)
            assert await read_frame(stream) == (1, b"early")


async def test_an_upgrade_may_follow_a_request_on_the_same_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(GET + b"\r\n" + upgrade() + frame(1, b"hello"))
            assert (await read_head(stream)).startswith(b"HTTP/1.1 200 ")
            assert b"path" in await stream.receive_some(24)
            assert (await read_head(stream)).endswith(b"\r\n\r\n")
            assert await read_frame(stream) == (1, b"hello")


async def test_a_crash_of_the_application_is_heard_as_1011(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with rough_socket(house, "/stream/crash") as stream:
            assert await read_close(stream) == 1011
            await stream.send_all(close_frame(1011))
            assert await read_all(stream) == b""
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.kinds == ["failed"]
        assert trio.current_time() == 0
        await house.assert_next_caller_is_served()


async def test_an_old_version_is_told_the_right_one(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = await house.ask(upgrade(Sec_WebSocket_Version="8"))
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


async def test_the_chosen_subprotocol_is_told(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        answer = b""
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(upgrade(Sec_WebSocket_Protocol="audio.example.org, other"))
            answer = await read_head(stream)
        assert b"\r\nSec-WebSocket-Protocol: audio.example.org\r\n" in answer


# -- draining ----------------------------------------------------------------------------------


async def test_draining_closes_idle_connections_and_doors_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        idle = await house.network.connect(HOST, PORT, False)
        silent = await house.network.connect(HOST, PORT, False)
        async with idle, silent:
            await idle.send_all(GET + b"\r\n")
            await read_head(idle)
            await idle.receive_some()
            house.stop.set()
            assert await read_all(idle) == b""
            assert await read_all(silent) == b""
            assert trio.current_time() == 0
        with pytest.raises(Exception, match="nobody listens"):
            await house.network.connect(HOST, PORT, False)


async def test_draining_lets_a_request_in_progress_finish(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await house.site.arrived.wait()
            house.stop.set()
            head = await read_head(stream)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in head
            assert trio.current_time() == pytest.approx(10)


async def test_draining_refuses_a_new_stream_on_an_old_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with await house.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(upgrade()[:-2])
            await trio.testing.wait_all_tasks_blocked()
            house.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"\r\n")
            head = await read_head(stream)
            assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5\r\n" in head


async def test_draining_lets_a_stream_end_by_itself(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with rough_socket(house) as stream:
            house.stop.set()
            await trio.sleep(house.timeouts.grace - 1)
            await stream.send_all(frame(1, b"still here"))
            assert await read_frame(stream) == (1, b"still here")
            await stream.send_all(close_frame(1000))
            assert await read_close(stream) == 1000
    assert trio.current_time() == pytest.approx(house.timeouts.grace - 1)


async def test_draining_cuts_a_stream_with_1001_at_the_end_of_the_grace(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with rough_socket(house) as stream:
            house.stop.set()
            assert await read_close(stream) == 1001
            assert trio.current_time() == pytest.approx(house.timeouts.grace)
            await stream.send_all(close_frame(1001))
            assert await read_all(stream) == b""
            assert trio.current_time() == pytest.approx(house.timeouts.grace)


async def test_a_cancelled_server_says_1001_at_once(autojump_clock: MockClock) -> None:
    network, site = MemoryNetwork(), EchoSite()
    door = Door([network.listener(HOST, PORT)], None, site)
    before = living_tasks()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve_doors, [door], trio.Event(), limits=Limits(), timeouts=Timeouts())
        )
        async with await network.connect(HOST, PORT, False) as stream:
            await stream.send_all(upgrade())
            await read_head(stream)
            await site.arrived.wait()
            nursery.cancel_scope.cancel()
            with trio.move_on_after(5, shield=True):
                assert await read_close(stream) == 1001
                assert trio.current_time() == 0
                await stream.send_all(close_frame(1001))
                assert await read_all(stream) == b""
    assert trio.current_time() == 0
    assert living_tasks() == before


async def test_several_doors_lead_to_several_sites(autojump_clock: MockClock) -> None:
    network, stop = MemoryNetwork(), trio.Event()
    web, streams = EchoSite(), EchoSite()
    doors = [
        Door([network.listener("web", 80)], None, web),
        Door([network.listener("streams", 80), network.listener("streams6", 80)], None, streams),
    ]
    limits, timeouts = Limits(), Timeouts()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_doors, doors, stop, limits=limits, timeouts=timeouts))
        ask = partial(fetch, connect=network.connect, limits=limits, timeouts=timeouts)
        assert (await ask("GET", "http://web/")).ok
        for host in ("streams", "streams6"):
            async with open_connected(
                f"ws://{host}/stream/a", connect=network.connect, limits=limits, timeouts=timeouts
            ):
                pass
        with pytest.raises(UpgradeRefused) as refused:
            async with open_connected(
                "ws://web/nowhere", connect=network.connect, limits=limits, timeouts=timeouts
            ):
                pass
        assert refused.value.status == 404
        stop.set()
    assert web.kinds == []  # a refusal of the site's is the site's to tell
    assert streams.ends == [(1000, True)] * 2


async def test_callers_do_not_feel_each_other(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        async with rough_socket(house) as stream:
            for name, (data, _) in ABUSE.items():
                async with await house.network.connect(HOST, PORT, False) as other:
                    await other.send_all(data[:60000])
                    await stream.send_all(frame(1, name.encode()))
                    assert await read_frame(stream) == (1, name.encode())
            await stream.send_all(close_frame(1000))
            assert await read_close(stream) == 1000
        await trio.sleep(house.timeouts.close)
        await house.assert_next_caller_is_served()
