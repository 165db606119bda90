"""What must hold of HTTP, whatever comes: a request with one meaning, a response, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from reference_http import ends
from trio.testing import MockClock

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http import ConnectionLost, HttpConnection, Request, Response
from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.net.upgrade import is_upgrade, refuse_upgrade
from minivoice_ref.protocol.errors import RemoteProtocolError

LIMITS = Limits(request_head=2048, request_body=512, response_body=512)
TIMEOUTS = Timeouts()
_STATUSES = (400, 408, 413, 415, 417, 431, 501, 505)


class Fed(trio.abc.Stream):
    """A stream on which certain pieces arrive, then nothing; what is sent is kept."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next piece."""
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is sent."""
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def wait_send_all_might_not_block(self) -> None:
        """It never does."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing is held."""
        await trio.lowlevel.checkpoint()


def pieces_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """*data* cut in pieces at the places that *cuts* stand for."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in zip(places, places[1:], strict=False)]


async def read_one(data: bytes, cuts: Sequence[int]) -> tuple[Request, int] | int | None:
    """The first request of *data* and where it ends, or the status that refuses it, or None."""
    await trio.lowlevel.checkpoint()
    stream = Fed(pieces_of(data, cuts))
    http = HttpConnection(stream, limits=LIMITS, timeouts=TIMEOUTS)
    try:
        if not await http.wait_for_request():
            return None
        request = await http.read_head()
        if not is_upgrade(request):
            request = await http.read_body(request)
        rest = len(http.trailing) + sum(map(len, stream._pieces))
        return request, len(data) - rest
    except RemoteProtocolError as exc:
        assert exc.status in _STATUSES and str(exc).isprintable(), (exc.status, str(exc))
        await http.refuse(Response.problem(exc.status))
        assert stream.sent.startswith(b"HTTP/1.1 ") and stream.sent.isascii()
        return exc.status
    except ConnectionLost:
        return None


def check_request(data: bytes, cuts: Sequence[int]) -> None:
    """A request is read the same however it is cut, and ends where all others say it ends."""

    async def check() -> None:
        whole = await read_one(data, [])
        cut = await read_one(data, cuts)
        assert type(whole) is type(cut) and whole == cut, (whole, cut)
        if not isinstance(whole, tuple):
            return
        request, end = whole
        assert len(request.body) <= LIMITS.request_body
        assert request.path.isprintable() or not request.path.isascii()
        assert not {".", ".."} & set(request.path.split("/"))
        if is_upgrade(request):
            if refuse_upgrade(request) is not None:
                return  # it is refused with its body unread, and the connection closes
        for reader, other in ends(data):
            assert other == end, f"{reader} ends it at {other}, we at {end}"

    trio.run(check, clock=MockClock(autojump_threshold=0))


def check_response(data: bytes, cuts: Sequence[int]) -> None:
    """A client gets a bounded response or a FetchError, and the same however it is cut."""

    async def ask(pieces: Sequence[bytes]) -> Response | str:
        await trio.lowlevel.checkpoint()

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return Fed(pieces)

        try:
            return await fetch(
                "GET", "http://x/", connect=connect, limits=LIMITS, timeouts=TIMEOUTS
            )
        except FetchError as exc:
            assert str(exc).isprintable() and exc.step == "response"
            return exc.step  # in which words it is refused may depend on how it was cut

    async def check() -> None:
        whole = await ask([data])
        assert await ask(pieces_of(data, cuts)) == whole
        if isinstance(whole, Response):
            assert len(whole.body) <= LIMITS.response_body
            assert 101 <= whole.status <= 999

    trio.run(check, clock=MockClock(autojump_threshold=0))
