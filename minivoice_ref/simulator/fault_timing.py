"""Faults of the clock and of the way to it: frames that come late, all at once, or never.

Read next: `fault_connection.py`.
"""

from __future__ import annotations

from minivoice_ref.protocol.dialects.base import Encoder
from minivoice_ref.protocol.media import Track
from minivoice_ref.simulator.fault import BEGINS, Fault
from minivoice_ref.simulator.speech import TICK

__all__ = ["Jitter", "Lose", "Stall"]


class Stall(Fault, name="stall"):
    """Falls silent a second into the stream, then sends all that is overdue in one burst."""

    summary = "a second into the stream come SECONDS of silence, then the rest in one burst"
    expects = "the burst is taken at once and nothing of it is lost; the silence is no end"
    unit, default, most = "seconds", 2.0, 3600.0

    def delay(self, tick: int) -> float:
        silent = tick * TICK - BEGINS
        return self.value - silent if 0 <= silent < self.value else 0.0


class Jitter(Fault, name="jitter"):
    """Lets each frame leave late by chance; the order stays."""

    summary = "each frame is late by chance, by MILLISECONDS at most"
    expects = "audio is placed by its timestamp, not by its arrival: no gaps, no drift"
    unit, default, most = "milliseconds", 60.0, 60000.0

    def delay(self, tick: int) -> float:
        return self.random.random() * self.value / 1000


class Lose(Fault, name="lose"):
    """Loses frames before they become messages.

    A WebSocket loses nothing: a loss before it shows as a jump of the timestamp alone.
    """

    summary = "PERCENT of the frames are never sent; the timestamps jump over them"
    expects = "each loss is silence of its length, in its place, and is accounted for"
    unit, default, most = "percent", 5.0, 90.0

    def unseen_in(self, encoder: type[Encoder]) -> str | None:
        if encoder.has_timestamps:
            return None
        return "without timestamps no receiver can know that audio is missing"

    def loses(self, track: Track, tick: int) -> bool:
        return self.happens()
