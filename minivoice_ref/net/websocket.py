"""How a WebSocket is accepted and opened, and what its library is protected from.

An essay, since this is the hardest file. trio-websocket is a sound implementation of RFC 6455 with
habits that a server on the open internet cannot afford. Each was measured, has a test, and is met
at one place: here, in `link.py`, `manners.py` and `simple_wire.py`.

1. **Its opening handshake trusts the peer.** A Host header that is no ASCII, a request it will not
   have, a strange response to its own request: the exception leaves through its nursery, or a task
   waits for ever. So every head, of a request (`front_door.py`) or of a response (here), is read
   and judged first by h11, within limits. The library then reads a head that *we* wrote, through a
   stream that gives it that head and holds back what follows until the socket is open.
2. **Its reader dies with whoever opened it.** An outer cancellation takes the reader along, and
   then the closing handshake cannot finish: the peer sees 1006 where it should hear 1001. So the
   reader's task shields itself once it is open. It has an owner, and the owner cancels it last.
3. **A cancelled send cuts a frame in half**, and everything behind it, the Close too, is swallowed
   as its payload. So `Link.send_all` is atomic: shielded, with a deadline of its own, and if that
   passes the byte stream is broken. Pongs and Closes go the same way.
4. **It closes the byte stream too early or never**: at once after a broken protocol, so that a
   reset can destroy the Close; not at all after a message that is too big. So `Link.aclose` only
   ends the reading. The reader's task closes the byte stream, when it is through and has lingered.
5. **It answers a Ping while it is closing**, which its own protocol object forbids: another
   exception through the nursery. It says nothing to a peer that breaks the protocol. Empty
   fragments may pile up without end. So `Manners` stands between the two.
6. **A ping waits for ever if the socket ends.** So each has a scope that the end cancels.
7. **It deals with all of a read in one turn**: ten thousand Pongs, or messages behind a Close that
   we sent, and a quarter of a second is over for all other calls. So it gets little at once.

Who is alive when, for an accepted socket (an opened one is the same):

    open_accepted
    └─ nursery
       ├─ the body of the caller's `async with`    leaves by return, exception or cancellation
       │    └─ close(code)                         shielded, `timeouts.close`: the goodbye
       └─ the wire's `read`                        until the library's reader is through
          └─ trio-websocket's reader               shielded once open; cancelled last, by close()

Which wire carries the messages is a setting, `transport`: `simple` is the one to learn first, in
`simple_wire.py`; `fast` reads nearly all that comes past the library, see `fast_wire.py`. Nothing
above knows more of it than its name. Read next: `simple_wire.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import Connector, FetchError, Target, connect_to
from minivoice_ref.net.fast_wire import FastWire
from minivoice_ref.net.gather import Gatherer
from minivoice_ref.net.http_client import upgrade
from minivoice_ref.net.http_messages import Request
from minivoice_ref.net.media_socket import ABNORMAL, End, MediaSocket, PongTimeout
from minivoice_ref.net.media_socket import SocketClosed, goodbye_code
from minivoice_ref.net.simple_wire import Opening, SimpleWire
from minivoice_ref.net.streams import ReplayStream, Unwrapped
from minivoice_ref.net.upgrade import UpgradeRefused, check_response, key_of, plain_request
from minivoice_ref.net.upgrade import plain_response, proposed_subprotocols, request_headers
from minivoice_ref.protocol.errors import LocalProtocolError, MiniVoiceError

__all__ = [
    "MediaSocket",
    "PongTimeout",
    "SocketClosed",
    "UpgradeRefused",
    "open_accepted",
    "open_connected",
]

_AT_ONCE = 4096  # bytes that the library reads before others have their turn

_WIRES: Mapping[str, type[SimpleWire]] = {"fast": FastWire, "simple": SimpleWire}


@asynccontextmanager
async def open_accepted(
    stream: trio.abc.Stream,
    request: Request,
    *,
    trailing: bytes = b"",
    subprotocol: str | None = None,
    limits: Limits,
    timeouts: Timeouts,
    transport: str = "fast",
    gatherer: Gatherer | None = None,
) -> AsyncGenerator[MediaSocket, None]:
    """Accept the good upgrade *request* (`upgrade.refuse_upgrade`) and hold its socket for a block.

    *trailing* is what was read behind the request's head. The socket is closed when the block is
    left: 1000 normally, 1001 by cancellation, a RemoteProtocolError's own code, 1011 by another
    exception; within `timeouts.close` seconds, and *stream* with it. Raises LocalProtocolError if
    *subprotocol* was not proposed, before anything is sent, and SocketClosed if the peer has gone.
    A *gatherer* that is running makes the fast *transport* cheaper still, for a little delay.
    """
    if subprotocol is not None and subprotocol not in proposed_subprotocols(request):
        raise LocalProtocolError(f"the subprotocol {subprotocol!r} was not proposed by the client")
    wire = _WIRES[transport](ReplayStream(trailing, stream), limits, timeouts)
    if isinstance(wire, FastWire) and gatherer is not None:
        wire.gather(gatherer)
    head = plain_request(request, subprotocol)

    async def accept(nursery: trio.Nursery) -> WebSocketConnection:
        proposal = await trio_websocket.wrap_server_stream(
            nursery,
            ReplayStream(head, wire.link),
            max_message_size=limits.message,
            receive_buffer_size=_AT_ONCE,
        )
        return await proposal.accept(subprotocol=subprotocol)

    gone = SocketClosed(End(ABNORMAL, "the peer did not take the handshake", by_peer=True))
    async with _supervised(wire, accept, gone, timeouts) as socket:
        yield socket


@asynccontextmanager
async def open_connected(
    url: str,
    *,
    connect: Connector,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    limits: Limits,
    timeouts: Timeouts,
    transport: str = "simple",
) -> AsyncGenerator[MediaSocket, None]:
    """Open a WebSocket at a ws or wss URL for a block, which ends as `open_accepted`'s does.

    Raises FetchError where no answer came (it names the step), and UpgradeRefused with the status
    where the answer was no. The opening handshake has `timeouts.upgrade` seconds. The fast
    *transport* has nothing to give to a client that hears little.
    """
    target = Target.of(url, "ws", "wss")
    stream = ReplayStream(b"", await connect_to(target, connect))

    async def answer(request: bytes) -> bytes:
        # The library's request stays in the house; its key goes out in ours.
        key = key_of(request)
        lines = [*headers, *request_headers(key, subprotocols)]
        response, trailing = await upgrade(stream, target, lines, limits)
        chosen = check_response(response, key, subprotocols)
        stream.give_back(trailing)
        return plain_response(key, chosen)

    wire = _WIRES[transport](stream, limits, timeouts, answer)

    async def propose(nursery: trio.Nursery) -> WebSocketConnection:
        return await trio_websocket.wrap_client_stream(
            nursery,
            wire.link,  # type: ignore[arg-type]  # any stream will do, says its documentation
            "localhost",
            "/",
            subprotocols=subprotocols,
            max_message_size=limits.message,
            receive_buffer_size=_AT_ONCE,
        )

    late = FetchError("response", url, f"no WebSocket within {timeouts.upgrade:g} s")
    async with _supervised(wire, propose, late, timeouts) as socket:
        yield socket


@asynccontextmanager
async def _supervised(
    wire: SimpleWire, opening: Opening, late: MiniVoiceError, timeouts: Timeouts
) -> AsyncGenerator[MediaSocket, None]:
    """Run the reader around a block; say goodbye when the block is left, then end the reader."""
    with Unwrapped():
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(timeouts.upgrade):
                    await nursery.start(wire.read, opening)
            except (trio.TooSlowError, ConnectionClosed):
                raise late from None
            socket = MediaSocket(wire, timeouts)
            try:
                yield socket
            except BaseException as exc:
                await socket.close(goodbye_code(exc))  # noqa: ASYNC102  # shields itself
                raise
            await socket.close()
