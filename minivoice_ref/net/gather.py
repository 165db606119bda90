"""One wake-up for many sockets: what live streams bring is read together, every few milliseconds.

Of each stream comes a little every 20 ms. A task that is woken for each little piece, reads it and
waits again costs more than the piece: turns of the event loop, two system calls, and caches that
have gone cold. So the sockets of streams are looked after by one task. Once it has read it does
not look again before so many seconds have passed, and then reads from each socket that has
something, by a function that the stream has left here. What came for both tracks of a stream is
taken in one go, and so is what came for all other streams. It is what network cards do under load.

    epoll of our own     all sockets of streams
          |              readable itself as soon as one of them is
    run()                calls `on_ready` of each that is; at most once in so many seconds
          |
    serve()              the stream's own task, asleep until there is something out of the ordinary

What it costs is time: a piece of audio may wait so long, on average half of it. Only streams wait
here: requests, handshakes and webhooks do not.

Needs Linux. Knows nothing of what is read. Read next: `sockets.py`.
"""

from __future__ import annotations

import select
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

import trio

from minivoice_ref.net.streams import Unwrapped

__all__ = ["Gatherer", "gathering", "new_gatherer"]

_AT_A_STRETCH = 64  # sockets that are read between two turns of the other tasks
_A_STRETCH = 0.005  # seconds after which the others have a turn sooner: after a stall all have much


def new_gatherer(seconds: float) -> Gatherer | None:
    """What gathers for so many seconds; None where the system cannot."""
    return Gatherer(seconds) if sys.platform == "linux" else None


@asynccontextmanager
async def gathering(gatherers: Iterable[Gatherer]) -> AsyncGenerator[None, None]:
    """Run *gatherers* while the block runs."""
    with Unwrapped():
        async with trio.open_nursery() as nursery:
            for gatherer in gatherers:
                nursery.start_soon(gatherer.run)
            yield
            nursery.cancel_scope.cancel()


class Gatherer:
    """Serves sockets together, at most once in so many *seconds*, while `run` runs."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._epoll = select.epoll()
        self._served: dict[int, tuple[Callable[[], bool], trio.lowlevel.Task]] = {}

    async def run(self) -> None:
        """Serve those who have left a function here, until cancelled."""
        while True:
            began = trio.current_time()
            next_look = began + self._seconds
            ready = self._epoll.poll(0, max(len(self._served), 1))
            for number, (descriptor, _) in enumerate(ready, 1):
                served = self._served.get(descriptor)
                if served is not None and not served[0]():
                    self.release(descriptor)
                if number % _AT_A_STRETCH == 0 or trio.current_time() > began + _A_STRETCH:
                    await trio.lowlevel.checkpoint()
                    began = trio.current_time()
            if ready:
                await trio.sleep_until(next_look)
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())

    async def serve(self, descriptor: int, on_ready: Callable[[], bool]) -> None:
        """Have *on_ready* called each time there is something to read, until it returns False.

        It is called by another task, must not raise, and has to read. Returns then, or after
        `release`. May be cancelled.
        """
        self._epoll.register(descriptor, select.EPOLLIN)
        self._served[descriptor] = on_ready, trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._forget(descriptor)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def release(self, descriptor: int) -> None:
        """Have `serve` return for *descriptor*, if it is served; to be called before it is closed.

        The system forgets a socket that is closed: nobody would ever hear of it again.
        """
        if descriptor in self._served:
            trio.lowlevel.reschedule(self._forget(descriptor))

    def _forget(self, descriptor: int) -> trio.lowlevel.Task:
        _, task = self._served.pop(descriptor)
        self._epoll.unregister(descriptor)
        return task
