"""Plays one case of the corpus on a connection, and judges what came of it.

Time is Trio's, virtual or not. Deadlines are those of the receiver's own `Timeouts`, by name, so
the same corpus runs with the long ones in virtual time and with short ones over sockets.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import trio
from abuse_corpus import Case
from abuse_hearing import PONG, Hearing
from abuse_parts import EndOfInput, Pause, Step, Words, frame

from minivoice_ref.certificates import Certificates
from minivoice_ref.config import Timeouts

_MOST_LINES = 150  # of the logs that one abuser can cause
_NO_AUDIO = "MV-402"  # goes without saying where a stream had none

Connect = Callable[[Case], Awaitable[trio.abc.Stream]]
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


def patience(case: Case, timeouts: Timeouts) -> float:
    """The seconds that may pass between the last part and the end."""
    return float(sum(getattr(timeouts, name) for name in case.within))


class _Peer:
    """One peer at its work."""

    def __init__(self, case: Case, stream: trio.abc.Stream, words: Words, timeouts: Timeouts):
        self._case = case
        self._stream = stream
        self._words = words
        self._timeouts = timeouts
        self._turn = trio.Lock()  # parts and pongs are sent one after the other
        self._news = trio.Event()
        self._all_sent = trio.Event()
        self.hearing = Hearing(case.door == "beneath tls", case.feed)

    async def run(self, slack: float) -> None:
        """Do what the case says; give up *slack* seconds after the receiver should have."""
        case, hearing = self._case, self.hearing
        hearing.began_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            if case.reads or case.opening:
                nursery.start_soon(self._listen)
            with suppress(*_GONE):
                await self._open()
                for step in self._words.steps(case.send):
                    await self._do(step)
            hearing.sent_at = trio.current_time()
            self._all_sent.set()
            if case.then == "listen" or case.then == "leave":
                allowed = patience(case, self._timeouts) + slack
                with trio.move_on_after(allowed):  # noqa: ASYNC912  # what is heard is heard
                    if not (case.reads or case.opening):
                        nursery.start_soon(self._listen)
                    while hearing.ended_at is None and not self._has_heard_all():
                        await self._hear_more()
            nursery.cancel_scope.cancel()
        if case.then == "reset":
            _reset(self._stream)
        await trio.aclose_forcefully(self._stream)

    async def _open(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._case.opening:
            return
        for step in self._words.steps(({"upgrade": {}},)):
            await self._do(step)
        while not self.hearing.opened and self.hearing.ended_at is None:
            await self._hear_more()
        if self._case.opening == "started":
            for step in self._words.steps(({"start": {}},)):
                await self._do(step)

    async def _do(self, step: Step) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(step, bytes):
            await self._send(step)
        elif isinstance(step, Pause):
            await trio.sleep(getattr(self._timeouts, step.timeout) * step.share)
        elif isinstance(step, EndOfInput) and isinstance(
            self._stream, trio.abc.HalfCloseableStream
        ):
            async with self._turn:
                await self._stream.send_eof()

    async def _send(self, data: bytes) -> None:
        async with self._turn:
            await self._stream.send_all(data)

    async def _listen(self) -> None:
        await trio.lowlevel.checkpoint()
        hearing, case = self.hearing, self._case
        try:
            while data := await self._stream.receive_some(65536):
                for ping in hearing.hear(bytes(data)):
                    if case.pongs:
                        await self._send(frame(PONG, ping))
                self._tell()
                if not case.reads and hearing.opened:
                    await self._all_sent.wait()
        except _GONE:
            hearing.was_reset = True
        hearing.end(trio.current_time())
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _hear_more(self) -> None:
        await self._news.wait()

    def _has_heard_all(self) -> bool:
        if self._case.then != "leave":
            return False
        heard = self.hearing
        if self._case.is_stream:
            return heard.opened and (self._case.close == 0 or heard.close is not None)
        return len(heard.statuses) >= len(self._case.statuses)


async def play(
    case: Case, connect: Connect, words: Words, timeouts: Timeouts, slack: float
) -> Hearing:
    """Do what a case says on a new connection, and return what was heard."""
    stream = await connect(case)
    peer = _Peer(case, stream, words, timeouts)
    await peer.run(slack)
    return peer.hearing


def judge(case: Case, heard: Hearing, timeouts: Timeouts, slack: float) -> Iterator[str]:
    """Everything about what was heard that should not be."""
    yield from heard.faults
    if heard.left_over and case.close != 0 and not case.door == "beneath tls":
        yield f"cut off in the middle of {heard.left_over!r}"
    if tuple(heard.statuses) != case.statuses:
        yield f"the statuses are {heard.statuses}"
    if heard.opened != case.is_stream and case.then in ("listen", "leave"):
        yield "a stream came about" if heard.opened else "no stream came about"
    if case.is_stream and case.then in ("listen", "leave") and (heard.close or 0) != case.close:
        yield f"the Close says {heard.close}"
    for text in case.has:
        if text.encode() not in heard.texts:
            yield f"{text!r} is not in {bytes(heard.texts[-300:])!r}"
    for text in case.lacks:
        if text.encode() in heard.texts:
            yield f"{text!r} is in what was heard"
    if case.then == "listen":
        allowed = patience(case, timeouts) + slack
        if heard.ended_at is None:
            yield f"it is still open after {allowed:g} s"
        elif heard.ended_at - heard.sent_at > allowed:
            yield f"it took {heard.ended_at - heard.sent_at:g} s instead of {allowed:g}"


def judge_logs(case: Case, lines: list[dict[str, Any]]) -> Iterator[str]:
    """Everything about the logs that should not be."""
    codes = {line["code"] for line in lines if "code" in line}
    accounts = [line for line in lines if line["what"] == "account"]
    if (_NO_AUDIO in codes) != any(not account["tracks"] for account in accounts):
        yield f"{_NO_AUDIO} is missing, or wrong"
    codes.discard(_NO_AUDIO)
    if codes != set(case.codes):
        told = [line for line in lines if "code" in line][:3]
        yield f"the log has the codes {sorted(codes)}: {told}"
    if len(lines) > _MOST_LINES:
        yield f"the log has {len(lines)} lines"
    if len(accounts) != (case.is_stream and not case.feed):
        yield f"there are {len(accounts)} accounts"
    for account in accounts:
        of_track = account["tracks"].get("inbound", {})
        for name, wanted in case.account.items():
            found = of_track.get(name, account.get(name))
            if found != wanted:
                yield f"the account says {name} = {found}"
        for track, sums in account["tracks"].items():
            if sums["received"] + sums["lost"] != sums["expected"]:
                yield f"the account of {track} does not balance: {sums}"


def _reset(stream: trio.abc.Stream) -> None:
    """Break the connection as a crash does."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        stream.reset()  # type: ignore[attr-defined]  # a MemoryStream


async def strange_tls(
    case: Case, stream: trio.abc.Stream, trusted: ssl.SSLContext, certificates: Certificates
) -> trio.abc.Stream:
    """TLS on *stream* as the case wants it; that it may not come about is the case's own matter."""
    tls = trio.SSLStream(
        stream,
        _strange_context(case, certificates) if case.client else trusted,
        server_hostname=case.client.get("name", "localhost"),
        https_compatible=True,
    )
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError:
        await trio.lowlevel.checkpoint()
    return tls


def _strange_context(case: Case, certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if "certificate" in case.client:
        context.load_cert_chain(certificates.cert, certificates.key)
    if "alpn" in case.client:
        context.set_alpn_protocols(case.client["alpn"])
    if "version" in case.client:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[case.client["version"]]
    return context
