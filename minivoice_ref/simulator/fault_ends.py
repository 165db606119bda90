"""Faults in how a stream ends: cut, vanished, never closed.

Read next: `fault_streams.py`.
"""

from __future__ import annotations

import trio

from minivoice_ref.simulator.fault import Fault, Line, Outlook, StreamCut
from minivoice_ref.simulator.fault_streams import MuteStream
from minivoice_ref.simulator.speech import TICK

__all__ = ["Cut", "NoClose", "Vanish"]

_PATIENCE = 45.0
"""Seconds for a receiver to notice that the other side has vanished; an assumption."""


class Cut(Fault, name="cut"):
    """Breaks the byte stream off: the receiver sees the end of TCP without a Close (1006)."""

    summary = "SECONDS into the stream its connection breaks off, without a goodbye"
    expects = "the stream is over, its resources are freed; the call goes on undisturbed"
    unit, default, least = "seconds", 1.0, TICK
    outlook = Outlook.BREAKS

    async def at_tick(self, tick: int, line: Line) -> None:  # noqa: ASYNC910  # mostly nothing
        if tick * TICK >= self.value:
            await line.socket.abort()
            raise StreamCut(f"cut by the fault {self}")


class Vanish(Fault, name="vanish"):
    """Says and answers nothing any more, as if the machine had lost its power: TCP stays open."""

    summary = "SECONDS into the stream nothing comes any more: no data, no pongs, no end of TCP"
    expects = "it is found out (by the silence, a ping, the end of the call) and the stream ended"
    assumed = f"a receiver notices within {_PATIENCE:g} s"
    unit, default, least = "seconds", 1.0, TICK
    outlook = Outlook.BREAKS

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._stream: MuteStream | None = None
        self._since: float | None = None

    def wrap(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        self._stream = MuteStream(stream)
        return self._stream

    async def at_tick(self, tick: int, line: Line) -> None:  # noqa: ASYNC910  # mostly nothing
        if tick * TICK >= self.value and self._stream is not None:
            self._stream.mute()
            self._since = trio.current_time()
            await line.socket.abort()
            raise StreamCut(f"vanished by the fault {self}")

    async def after(self) -> None:
        if self._stream is None or self._since is None:
            return await trio.lowlevel.checkpoint()
        ended = await self._stream.outlast(_PATIENCE)
        held = trio.current_time() - self._since
        if ended:
            self.found(True, f"the receiver gave the connection up after {held:.1f} s")
        else:
            self.found(False, f"the receiver still held the connection after {held:.1f} s")


class NoClose(Fault, name="no-close"):
    """Says that the stream is over and leaves the connection open."""

    summary = "the connection is left open behind the stop message, for SECONDS at most"
    expects = "the receiver closes it by itself, with 1000"
    assumed = "a receiver need not wait for a Close behind a stop"
    unit, default = "seconds", 10.0

    async def after_stop(self, line: Line) -> None:
        began = trio.current_time()
        line.finished.set()
        with trio.move_on_after(self.value):
            await line.over.wait()
        held = trio.current_time() - began
        if line.over.is_set():
            self.found(True, f"the receiver closed the connection after {held:.1f} s")
        else:
            self.found(False, f"the receiver left the connection open for {held:.1f} s")
            await line.socket.abort()
            raise StreamCut(f"left open by the fault {self} and never closed by the receiver")
