"""A stream that is open at another process, as far as that tells of it.

To the feed it is what a `WatchedStream` is: it can be watched more or less closely, and what came
of it can be taken, once. What waits to be taken is bounded as it is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from minivoice_ref.console.watched import Attention

__all__ = ["DistantStream"]

_MOST_RUNS = 600  # of peaks that wait to be taken, of each track
_MOST_PIECES = 32  # of audio, each of 50 ms or so


class DistantStream:
    """See above. Begins unwatched."""

    def __init__(self, stream_id: str) -> None:
        self.id = stream_id
        self.attention = Attention.NONE
        self._state: Mapping[str, Any] | None = None
        self._levels: Mapping[str, int] = {}
        self._peaks: dict[str, deque[list[int]]] = {}
        self._audio: deque[bytes] = deque(maxlen=_MOST_PIECES)

    def watch(self, attention: Attention) -> None:
        """Watch more or less closely from now on; `Asking` has the other process told."""
        self.attention = attention
        if attention < Attention.LOOK:
            self._peaks.clear()
        if attention < Attention.EAR:
            self._audio.clear()

    # --- what the other process tells ---

    def hear_levels(self, levels: Mapping[str, int]) -> None:
        """Hear how loud it is now."""
        self._levels = {**self._levels, **levels}

    def hear_state(self, state: Mapping[str, Any]) -> None:
        """Hear what `state` is to say."""
        self._state = {**state, "id": self.id}

    def hear_peaks(self, tracks: Mapping[str, list[list[int]]]) -> None:
        """Hear new peaks."""
        if self.attention >= Attention.LOOK:
            for track, runs in tracks.items():
                self._peaks.setdefault(track, deque(maxlen=_MOST_RUNS)).extend(runs)

    def hear_audio(self, audio: bytes) -> None:
        """Hear new audio."""
        if self.attention is Attention.EAR:
            self._audio.append(audio)

    # --- what the feed takes; see `WatchedStream` ---

    def levels(self) -> Mapping[str, int]:
        """How loud it was when that was told last; what was told is forgotten."""
        levels, self._levels = self._levels, {}
        return levels

    def take_peaks(self) -> Mapping[str, list[list[int]]]:
        """The new peaks of each track."""
        taken, self._peaks = self._peaks, {}
        return {track: list(runs) for track, runs in taken.items()}

    def take_audio(self) -> bytes:
        """The new audio."""
        audio = b"".join(self._audio)
        self._audio.clear()
        return audio

    def state(self) -> Mapping[str, Any] | None:
        """The sums so far; None until they have been told."""
        return self._state
