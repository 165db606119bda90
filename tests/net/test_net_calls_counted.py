"""What a received message costs in function calls: a regression is seen here without a clock.

Calls made by our own code are counted, of Python functions and of built-in ones, while a socket
receives; what Trio does between is Trio's. The bounds are what is needed today and a little more:
who adds a call to the way of each message will have to say so here.
"""

from __future__ import annotations

import ssl
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from net_parties import TIMEOUTS, a_request, read_head

import minivoice_ref.net
from minivoice_ref.config import Limits
from minivoice_ref.net.frames import whole_frames
from minivoice_ref.net.gather import Gatherer, gathering
from minivoice_ref.net.media_socket import MediaSocket
from minivoice_ref.net.tls_stream import TlsStream
from minivoice_ref.net.websocket import open_accepted

OURS = str(Path(minivoice_ref.net.__file__).parent)
READS = 10
MESSAGE = '{"event":"media","media":{"payload":"' + "A" * 216 + '"}}'


@asynccontextmanager
async def connection(
    *, tls: bool, gatherer: Gatherer | None = None
) -> AsyncGenerator[tuple[MediaSocket, trio.abc.Stream], None]:
    """An accepted socket over TCP, and the stream of its peer."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ours: trio.abc.Stream
    theirs: trio.abc.Stream
    ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    theirs = await listener.accept()
    async with listener, ours, theirs:
        if tls:
            ours, theirs = await secured(ours, theirs)
        async with open_accepted(
            theirs, a_request(), limits=Limits(), timeouts=TIMEOUTS, gatherer=gatherer
        ) as socket:
            await read_head(ours)
            yield socket, ours
            await socket.abort()


async def secured(
    ours: trio.abc.Stream, theirs: trio.abc.Stream
) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    client = TlsStream(ours, trusting, "localhost")
    server = TlsStream(theirs, context, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


async def calls_of_a_read(
    socket: MediaSocket, peer: trio.abc.Stream, messages: int
) -> Counter[str]:
    """The calls of our code for one read that brings so many messages, the mean of ten."""
    calls: Counter[str] = Counter()
    frames = whole_frames([MESSAGE] * messages, masked=True)

    async def receive() -> None:
        task = trio.lowlevel.current_task()

        def note(frame: FrameType, event: str, called: Any) -> None:
            if not event.endswith("call") or not frame.f_code.co_filename.startswith(OURS):
                return
            if trio.lowlevel.current_task() is task:
                name = frame.f_code.co_qualname if event == "call" else called.__qualname__
                calls[name] += 1

        await trio.lowlevel.checkpoint()
        for _ in range(READS):
            sys.setprofile(note)
            assert await socket.receive() == [MESSAGE] * messages
        sys.setprofile(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for _ in range(READS):
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_all(frames)
    return Counter({name: round(count / READS) for name, count in calls.items()})


@pytest.mark.parametrize(("tls", "a_read"), [(True, 22), (False, 12)], ids=["tls", "plain"])
async def test_a_message_costs_no_more_calls_than_it_must(tls: bool, a_read: int) -> None:
    """A read costs so many calls, each message in it seven more."""
    with trio.fail_after(20):
        async with connection(tls=tls) as (socket, peer):
            await calls_of_a_read(socket, peer, 1)  # the first one finds the handshake's remains
            one = await calls_of_a_read(socket, peer, 1)
            many = await calls_of_a_read(socket, peer, 31)
    many.subtract(one)
    each = {name: count // 30 for name, count in many.items() if count}
    assert sum(each.values()) <= 7, each
    assert one.total() - sum(each.values()) <= a_read, one


async def calls_of_a_pour(
    socket: MediaSocket, peer: trio.abc.Stream, messages: int
) -> Counter[str]:
    """The same for a read that a gatherer makes; what it does for all sockets at once aside."""
    calls: Counter[str] = Counter()
    frames = whole_frames([MESSAGE] * messages, masked=True)
    heard: list[object] = []
    sender = trio.lowlevel.current_task()

    def note(frame: FrameType, event: str, called: Any) -> None:
        code = frame.f_code
        if not event.endswith("call") or not code.co_filename.startswith(OURS):
            return
        if code is not Gatherer.run.__code__ and trio.lowlevel.current_task() is not sender:
            calls[code.co_qualname if event == "call" else called.__qualname__] += 1

    def take(messages: list[Any]) -> bool:
        heard.extend(messages)
        return True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.pour, take)
        await trio.testing.wait_all_tasks_blocked()
        sys.setprofile(note)
        for number in range(1, READS + 1):
            await peer.send_all(frames)
            while len(heard) < number * messages:  # noqa: ASYNC110
                await trio.lowlevel.checkpoint()
        sys.setprofile(None)
        nursery.cancel_scope.cancel()
    return Counter({name: round(count / READS) for name, count in calls.items()})


@pytest.mark.parametrize(("tls", "a_read"), [(True, 16), (False, 7)], ids=["tls", "plain"])
async def test_nor_where_streams_are_read_together(tls: bool, a_read: int) -> None:
    with trio.fail_after(20):
        async with gathering([gatherer := Gatherer(0.0001)]):
            async with connection(tls=tls, gatherer=gatherer) as (socket, peer):
                one = await calls_of_a_pour(socket, peer, 1)
                many = await calls_of_a_pour(socket, peer, 31)
    many.subtract(one)
    each = {name: count // 30 for name, count in many.items() if count}
    assert sum(each.values()) <= 7, each
    assert one.total() - sum(each.values()) <= a_read, one
