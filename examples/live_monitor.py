"""python examples/live_monitor.py [SECONDS]: who speaks, how loud and how much, while they speak.

Of each call that is going on the terminal shows three lines: either party's level and its share of
the talking, and how much of the time both spoke at once, or nobody did.

How it is counted. Time is cut into slots of 20 ms. In a slot a party speaks if its audio there is
louder than SPEECH; a pause between two such slots that is no longer than PAUSE belongs to the
speech, or else every stop consonant would count as silence. So a slot can be judged only when
audio from PAUSE after it has come, of both parties. Slots are told by where the audio belongs
(`frame.position`), never by when it came: a burst after a stall is no talk-over.

Three tasks, and none waits for another's pace: the receiver's own, which never waits at all;
`on_stream`, which judges; and the one that draws, in a thread, since a terminal may stand still.

It places a test call at itself. For the platform, start `serve_until_signal` in the place of
`rehearse`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import trio

from minivoice_ref import App, Frame, MediaStream
from minivoice_ref.protocol.audio import level
from minivoice_ref.rehearsal import open_rehearsal

SLOTS_A_SECOND = 50
SPEECH = -45.0  # dBFS: telephone speech is at -15 to -30, a quiet line below -55
PAUSE = 15  # slots, 0.3 s
PATIENCE = 100  # slots, 2 s, that one party may be behind the other before it counts as silent
NAMES = {"inbound": "caller", "outbound": "agent", "mixed": "both"}


@dataclass(slots=True)
class Party:
    """One track: `speech` holds the slots with speech that are not judged yet, at most 2.3 s."""

    level: float = -100.0  # dBFS, of the last slot
    heard_to: int = 0  # the first slot of which nothing came
    spoke_last: int = -PAUSE - 1
    talked: int = 0  # slots
    speech: set[int] = field(default_factory=set)

    def hear(self, slot: int, dbfs: float) -> None:
        """Take the level of one slot, and fill a short pause behind the speech before it."""
        self.level = dbfs
        self.heard_to = max(self.heard_to, slot + 1)
        if dbfs > SPEECH:
            pause = slot - self.spoke_last
            first = self.spoke_last + 1 if 1 < pause <= PAUSE else slot
            self.speech.update(range(first, slot + 1))
            self.spoke_last = max(self.spoke_last, slot)


class Conversation:
    """The sums of one stream, of which *tracks* are expected."""

    def __init__(self, tracks: Iterable[str]) -> None:
        self.parties = {track: Party() for track in tracks}
        self.judged = 0  # slots
        self.talk_over = 0
        self.silence = 0
        self.silent_since = 0

    def add(self, frame: Frame) -> None:
        """Judge what a frame makes it possible to judge. What came too late for that is let go."""
        party = self.parties.setdefault(frame.track, Party())
        step = frame.format.sample_rate // SLOTS_A_SECOND
        for offset in range(0, frame.samples, step):
            slot = (frame.position + offset) // step
            if slot >= self.judged:
                party.hear(slot, level(frame.pcm[2 * offset : 2 * (offset + step)]).rms_dbfs)
        self._judge_to(self._known_to() - PAUSE)

    def finish(self) -> None:
        """Judge the rest."""
        self._judge_to(max((party.heard_to for party in self.parties.values()), default=0))

    def _known_to(self) -> int:
        """How far both have been heard, unless one has fallen silent on the wire."""
        heard = [party.heard_to for party in self.parties.values()]
        return max(min(heard), max(heard) - PATIENCE)

    def _judge_to(self, end: int) -> None:
        for slot in range(self.judged, end):
            speaking = [party for party in self.parties.values() if slot in party.speech]
            for party in speaking:
                party.talked += 1
                party.speech.discard(slot)
            if not speaking:
                self.silence += 1
            else:
                self.silent_since = slot + 1
                self.talk_over += len(speaking) > 1
        self.judged = max(self.judged, end)

    def lines(self) -> list[str]:
        """What there is to see, for people."""
        talked = sum(party.talked for party in self.parties.values())
        lines = []
        for track, party in sorted(self.parties.items()):
            bar = "#" * max(0, round((party.level + 60) / 3))
            lines.append(
                f"{NAMES[track]:<6} {party.level:6.1f} dBFS {bar:<20}"
                f" talks {seconds(party.talked)} s  {party.talked / max(talked, 1):4.0%}"
            )
        lines.append(
            f"  of {seconds(self.judged)} s: talk-over {seconds(self.talk_over)} s, silence"
            f" {seconds(self.silence)} s (now {seconds(self.judged - self.silent_since)} s)"
        )
        return lines


def seconds(slots: int) -> str:
    """A number of slots in seconds, for people."""
    return f"{slots / SLOTS_A_SECOND:.1f}"


class Monitor:
    """The calls that are going on."""

    def __init__(self) -> None:
        self._live: dict[str, Conversation] = {}
        self._drawn = 0  # lines, which are drawn over the next time
        self._terminal = trio.CapacityLimiter(1)  # so that the text comes in order

    async def on_stream(self, stream: MediaStream) -> None:
        """Follow one stream to its end, and leave its sums on the terminal."""
        conversation = self._live[stream.id] = Conversation(stream.started.tracks)
        try:
            async for frame in stream:
                if frame.format.readable:
                    conversation.add(frame)
        finally:
            del self._live[stream.id]
        conversation.finish()
        await self._show([f"{stream.call_id} is over", *conversation.lines()], keep=True)

    async def draw(self) -> None:
        """Draw all that goes on: in place on a terminal, else a block every second."""
        in_place = sys.stdout.isatty()
        while True:
            await trio.sleep(0.2 if in_place else 1.0)
            lines = []
            for conversation in self._live.values():
                lines += conversation.lines()
            await self._show(lines, keep=not in_place)

    async def _show(self, lines: list[str], *, keep: bool) -> None:
        """Print in the place of what was drawn last. Waits for a terminal that stands still."""
        back = f"\x1b[{self._drawn}A\x1b[J" if self._drawn else ""
        self._drawn = 0 if keep else len(lines)
        if lines or back:
            text = back + "".join(f"{line}\n" for line in lines)
            await trio.to_thread.run_sync(
                _write, text, abandon_on_cancel=True, limiter=self._terminal
            )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


async def rehearse(monitor: Monitor, speak: float) -> None:
    """Serve, and have one test call placed."""
    async with open_rehearsal(App(on_stream=monitor.on_stream)) as rehearsal:
        await rehearsal.call(speak=speak)


async def main(speak: float) -> None:
    """Draw while the receiver runs."""
    monitor = Monitor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.draw)
        await rehearse(monitor, speak)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, float((sys.argv[1:] or ["21"])[0]))  # the packaged conversation lasts 21 s
