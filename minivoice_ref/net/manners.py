"""wsproto's connection as trio-websocket may see it: it never fails, and answers what is a breach.

The library's reader has four habits that this object, in wsproto's place, keeps from doing harm.
It answers a Ping while it is closing, which wsproto forbids: an exception through its nursery. It
says nothing to a peer that breaks the protocol. It keeps empty fragments, and a peer may send them
without end. It takes apart whatever comes while it waits for the peer's Close. (`websocket.py` says
what else it is protected from.)

Knows no tasks. Read next: `simple_wire.py`, which puts it in its place.

Facts: RFC 6455 section 7.1.7, failing a connection; section 7.4.1, the codes 1002, 1007, 1009.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Event, Message, Pong

from minivoice_ref.net.link import Link
from minivoice_ref.net.media_socket import ABNORMAL, BREACHES

__all__ = ["Manners"]

_MOST_LATE = 262144  # bytes of a peer that were on their way when we said goodbye


class Manners:
    """wsproto's connection as trio-websocket may see it: sends never fail, breaches are answered.

    After the peer broke the protocol, or sent a message too big, `state` says that the peer is
    closing: this makes the library send the Close event that `events` gave it. What comes later
    from that peer is dropped unread.
    """

    def __init__(self, below: Connection, limit: int, link: Link) -> None:
        self._below = below
        self._limit = limit
        self._link = link
        self._ending = link.ending
        self._size = 0  # bytes of the message in progress
        self._late = 0  # bytes that came after our Close
        self._answering = False
        self.broken = False  # nothing more of the peer is read, and it was told why

    @property
    def client(self) -> bool:
        """Whether this is the client's side."""
        return self._below.client

    @property
    def state(self) -> ConnectionState:
        """The state as the library is to see it: a Close is answered before it is over."""
        return ConnectionState.REMOTE_CLOSING if self._answering else self._below.state

    def send(self, event: Event) -> bytes:
        """The bytes to send for *event*: none for what may not follow a Close."""
        state = self._below.state
        if isinstance(event, Pong) and state is not ConnectionState.OPEN:
            return b""
        if isinstance(event, CloseConnection):
            self._answering = False
            if state is ConnectionState.OPEN:
                vanished = event.code == ABNORMAL
                reason = "the byte stream ended without a Close" if vanished else event.reason or ""
                self._ending.note(int(event.code), reason, by_peer=vanished)
        return self._below.send(event)

    def receive_data(self, data: bytes) -> None:
        """Take what the peer sent; after a breach of the protocol, nothing more."""
        if self.broken:
            return
        if self._below.state is ConnectionState.LOCAL_CLOSING:
            self._late += len(data or b"")
            if self._late > _MOST_LATE:  # it sends on and on: what it has heard must do
                self.broken = True
                self._link.let_go()
                return
        self._below.receive_data(data)

    def events(self) -> Iterator[Event]:
        """What arrived, up to the end of the connection or the first breach of the protocol."""
        for event in () if self.broken else self._below.events():
            if isinstance(event, CloseConnection):
                if self._below.state is ConnectionState.OPEN:  # wsproto's verdict, not the peer's
                    yield self._break(int(event.code), event.reason or "")
                    return
                self._ending.heard_goodbye = True
                self._ending.note(int(event.code), event.reason or "", by_peer=True)
                yield event
                # Both have said it. RFC 6455 section 7.1.1 would have a client wait for the server
                # to close TCP; one that lingers to be heard waits for the client as well.
                self._link.let_go()
                return
            if isinstance(event, Message):
                if self._is_too_big(event):
                    yield self._break(1009, f"a message of more than {self._limit} bytes")
                    return
                if not event.data and not event.message_finished:
                    continue  # the library would keep it, and a peer could send such for ever
            yield event

    def _is_too_big(self, event: Message[Any]) -> bool:
        data = event.data
        size = len(data.encode() if isinstance(data, str) and not data.isascii() else data)
        total = self._size + size
        self._size = 0 if event.message_finished else total
        return total > self._limit

    def _break(self, code: int, why: str) -> CloseConnection:
        self._ending.note(code, why, by_peer=False)
        self.broken = True
        if self._below.state is ConnectionState.OPEN:
            self._answering = True
        return CloseConnection(code=code, reason=BREACHES.get(code, "protocol error"))
