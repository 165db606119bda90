"""What is taken of the open streams in one round: once, for all who want it, here and elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from minivoice_ref.console.distant import DistantStream
from minivoice_ref.console.watched import Attention, WatchedStream

__all__ = ["OpenStream", "Runs", "Seen", "take"]

OpenStream: TypeAlias = WatchedStream | DistantStream
"""A stream that is open here, or at another process."""

Runs: TypeAlias = Mapping[str, list[list[int]]]
"""New peaks of each track; see `WatchedStream.take_peaks`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is new, by the streams' ids; of those of which nothing is, there is nothing."""

    audio: Mapping[str, bytes]
    peaks: Mapping[str, Runs]
    levels: Mapping[str, Mapping[str, int]]


def take(streams: Iterable[OpenStream], *, peaks: bool, levels: bool) -> Seen:
    """Take what is new of the streams that somebody looks at, as far as it is due."""
    watched = [one for one in streams if one.attention > Attention.NONE]
    ears = [one for one in watched if one.attention is Attention.EAR]
    looks = [one for one in watched if peaks and one.attention >= Attention.LOOK]
    return Seen(
        audio={one.id: audio for one in ears if (audio := one.take_audio())},
        peaks={one.id: runs for one in looks if (runs := one.take_peaks())},
        levels={one.id: one.levels() for one in watched if levels},
    )
