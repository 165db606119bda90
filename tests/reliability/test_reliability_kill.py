"""Nothing accepted is lost: the process is killed again and again while webhooks come.

Fifteen times in every run; a hundred times with LONG_TESTS=1.
"""

from __future__ import annotations

import os
import random
import signal
from collections import defaultdict
from pathlib import Path

import trio
from reliability_lab import Receiver, event, free_port, running

from minivoice_ref.net.connect import FetchError

KILLS = 100 if os.environ.get("LONG_TESTS") else 15
SENDERS = 6
AT_ONCE = 8  # calls that are worked on at once, hence events that may be inside on_event


class Platform:
    """Delivers events until it is told to stop, and keeps what was accepted."""

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.accepted: list[str] = []
        self.refused: list[int] = []
        self.stopping = False
        self._number = 0

    async def deliver(self) -> None:
        """Deliver one event after the other, each until it is accepted."""
        await trio.lowlevel.checkpoint()
        while not self.stopping:
            self._number += 1
            number, call = self._number, f"call_{self._number}"
            while not await self._try(number):  # noqa: ASYNC110
                await trio.sleep(0.02)
            self.accepted.append(call)

    async def _try(self, number: int) -> bool:
        receiver = self.receiver
        await trio.lowlevel.checkpoint()
        if receiver is None:
            return False
        try:
            status = await receiver.deliver(event(number))
        except FetchError:  # killed while it was asked, or not yet there again
            return False
        if status != 200:
            self.refused.append(status)
        return status == 200


def read_handled(data: Path) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """For each call the lives (process ids) in which it was begun; for each life what was begun

    last, as many as can be inside on_event at once.
    """
    begun: dict[str, list[str]] = defaultdict(list)
    order: dict[str, list[str]] = defaultdict(list)
    for line in (data / "handled").read_text().splitlines():
        life, what, call, _ = line.split()
        if what == "begin":
            begun[call].append(life)
            order[life].append(call)
    return begun, {life: set(calls[-AT_ONCE:]) for life, calls in order.items()}


async def test_what_was_accepted_is_handled_though_the_process_is_killed_at_any_moment(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    data, platform = tmp_path / "data", Platform()
    listen = f"127.0.0.1:{free_port()}"
    with trio.fail_after(20 + 5 * KILLS):
        async with trio.open_nursery() as senders:
            for _ in range(SENDERS):
                senders.start_soon(platform.deliver)
            for _ in range(KILLS):
                async with running(data, listen=listen) as platform.receiver:
                    await trio.sleep(moments.uniform(0.0, 0.4))
                    platform.receiver.process.send_signal(signal.SIGKILL)
                    await platform.receiver.process.wait()
            async with running(data, listen=listen) as receiver:
                platform.receiver, platform.stopping = receiver, True
                await receiver.until(lambda: not senders.child_tasks)
                accepted = set(platform.accepted)
                await receiver.until(lambda: accepted <= set(read_handled(data)[0]), 30)
                receiver.process.send_signal(signal.SIGTERM)
                assert await receiver.process.wait() == 0
    begun, last = read_handled(data)
    assert len(platform.accepted) > KILLS and not platform.refused, seed
    assert set(begun) >= set(platform.accepted), seed
    for call, lives in begun.items():
        # Twice only where the kill fell before on_event had returned and that was on the disk.
        assert all(call in last[life] for life in lives[:-1]), (seed, call, lives)
    # Every line of every log can be read, torn ones apart; a new life ends a torn line.
    for log in ("streams", "webhooks"):
        path = data / f"{log}.jsonl"
        assert not path.exists() or path.read_bytes().endswith(b"\n")
