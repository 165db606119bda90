"""The limits on connections and handshakes, each at its edge."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from net_parties import HOST, PORT, open_house, read_all, read_head
from trio.testing import MockClock

from minivoice_ref.config import Limits
from minivoice_ref.net.crowd import Crowd, address_of
from minivoice_ref.net.tls import server_context

ASK = b"GET /any HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"connections": 2}, b"503"), ({"connections": 9, "connections_per_address": 2}, b"429")],
)
async def test_one_connection_too_many_is_told_when_to_come_back(
    limits: dict[str, int], status: bytes, autojump_clock: MockClock
) -> None:
    async with open_house(limits=limits) as house, AsyncExitStack() as there:
        for _ in range(2):
            stream = await there.enter_async_context(await house.network.connect(HOST, PORT, False))
            await stream.send_all(ASK)
            assert b" 200 " in await read_head(stream)
        answer = await house.ask(ASK)
        assert answer.startswith(b"HTTP/1.1 " + status) and b"Retry-After: 5\r\n" in answer
        assert b"Connection: close" in answer
        assert house.site.kinds == ["limit"]
        (limit,) = (fields["limit"] for _, fields in house.site.notes)
        assert limit == list(limits)[-1]
        await there.aclose()
        await house.assert_next_caller_is_served()


async def test_one_who_is_turned_away_and_says_nothing_is_closed_in_time(
    autojump_clock: MockClock,
) -> None:
    async with open_house(limits={"connections": 1}) as house:
        async with await house.network.connect(HOST, PORT, False):
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            assert await house.ask(b"") == b""
            assert trio.current_time() - began <= 5 + 2


@pytest.mark.parametrize(("connections", "told"), [(1, 1), (29, 2), (1200, 100)])
async def test_only_so_many_are_turned_away_at_once(
    connections: int, told: int, autojump_clock: MockClock
) -> None:
    limits = {"connections": connections}
    async with open_house(limits=limits) as house, AsyncExitStack() as there:
        for _ in range(connections + told):
            await there.enter_async_context(await house.network.connect(HOST, PORT, False))
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        async with await house.network.connect(HOST, PORT, False) as stream:
            assert await read_all(stream) == b""  # at once, and without a word
        assert trio.current_time() == began


async def test_the_oldest_handshake_makes_room_for_a_new_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    pem = tmp_path / "both.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(pem)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    network = {"client_context": client}
    async with open_house(
        tls=server_context(pem, pem), network=network, limits={"handshakes": 2}
    ) as house:
        silent = []
        for _ in range(2):
            silent.append(await house.network.connect(HOST, PORT, False))
            await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        async with await house.network.connect(HOST, PORT, True) as stream:
            await stream.send_all(ASK)
            assert b" 200 " in await read_head(stream)
        assert await silent[0].receive_some() == b""
        assert trio.current_time() == began
        assert house.site.kinds == ["limit"] and house.site.notes[0][1]["limit"] == "handshakes"
        for stream in silent:
            await stream.aclose()


def test_a_proxy_is_counted_among_all_and_not_as_an_address() -> None:
    crowd = Crowd(Limits(connections=2, connections_per_address=1))
    with crowd.visit("192.0.2.1:1", is_proxy=True) as one:
        with crowd.visit("192.0.2.1:2", is_proxy=True) as two:
            with crowd.visit("192.0.2.1:3", is_proxy=True) as three:
                assert one is None and two is None
                assert three is not None and three.limit == "connections"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1:40000", "192.0.2.1"),
        ("[2001:db8::1]:40000", "2001:db8::/64"),
        ("2001:db8::2", "2001:db8::/64"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("[fe80::1%eth0]:1", "fe80::/64"),
        ("/run/socket", ""),
        ("", ""),
    ],
)
def test_those_count_together_who_can_change_their_address_at_will(peer: str, address: str) -> None:
    assert address_of(peer) == address


@pytest.mark.parametrize(("limit", "over"), [("request_head", 431), ("request_body", 413)])
async def test_a_request_of_exactly_the_limit_is_served_and_one_byte_more_is_not(
    limit: str, over: int, autojump_clock: MockClock
) -> None:
    def of(size: int) -> bytes:
        if limit == "request_head":
            head, end = b"GET /any HTTP/1.1\r\nHost: x\r\nX: ", b"\r\n\r\n"
            return head + b"a" * (size - len(head + end)) + end
        return b"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size

    def in_chunks(size: int) -> bytes:
        if limit == "request_head":
            return of(size)
        pieces = [
            b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (b"a" * 100, b"a" * (size - 100))
        ]
        head = b"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + b"".join(pieces) + b"0\r\n\r\n"

    async with open_house(limits={limit: 400}) as house:
        for request in (of, in_chunks):
            for size, status in ((400, 200), (401, over)):
                answer = await house.ask(request(size))
                assert answer.startswith(b"HTTP/1.1 %d " % status), (size, answer)
        await house.assert_next_caller_is_served()
