"""The corpus of abuse, cut off anywhere: peers that vanish in the middle of what they do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from abuse_corpus import Case, read_corpus
from abuse_ground import OUR_FAULTS, WALL, open_in_memory
from abuse_parts import Step, Words
from abuse_player import play
from test_abuse_memory import at_rest, settle
from trio.testing import MockClock

_ABUSERS = 150
_FAREWELLS = ("vanish", "reset", "listen")


class _CutWords(Words):
    """Says no more than *most* bytes."""

    def __init__(self, most: int, call_id: str) -> None:
        super().__init__(WALL, call_id)
        self._most = most

    def steps(self, parts: tuple[Any, ...]) -> Iterator[Step]:
        """What is sent for *parts*, as far as it goes."""
        for step in super().steps(parts):
            if not isinstance(step, bytes):
                yield step
            elif self._most > 0:
                yield step[: self._most]
                self._most -= len(step)


@pytest.mark.parametrize("transport", ["fast", "simple"])
async def test_abuse_that_is_cut_off_anywhere_leaves_nothing_behind(
    transport: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    chance = random.Random(6)
    cases = [case for case in read_corpus() if case.door == "any"]
    faults: list[str] = []
    data = tmp_path / "data"
    async with open_in_memory(data, None, None, transport=transport) as (ground, network):
        tasks, timeouts = await settle(), ground.config.timeouts

        async def connect(case: Case) -> trio.abc.Stream:
            return await network.connect(*ground.address, False)

        async def abuse(number: int, case: Case, most: int) -> None:
            words = _CutWords(most, f"call_{number}")
            heard = await play(case, connect, words, timeouts, slack=timeouts.silence)
            faults.extend(f"{case.name}, {most} bytes of it: {fault}" for fault in heard.faults)

        async with trio.open_nursery() as nursery:
            for number in range(_ABUSERS):
                case = replace(chance.choice(cases), then=chance.choice(_FAREWELLS))
                most = chance.choice([chance.randrange(300), chance.randrange(3000)])
                nursery.start_soon(abuse, number, case, most)
        assert not faults, "\n".join(faults)
        await at_rest(tasks, trio.current_time() + timeouts.silence + timeouts.finish)
        codes = {line.get("code") for line in ground.news()}
        assert not codes & OUR_FAULTS
        await ground.serve_next_caller()
