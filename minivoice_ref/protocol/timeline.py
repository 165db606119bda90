"""Where each piece of audio belongs, and the account of it: what came, what lacks, what was odd.

Audio is placed by the platform's timestamp, never by its arrival. Written one after another as they
come, pieces close up over every gap, and the two tracks of a call drift apart for good.

One `Timeline` stands for one track. Think of a line of samples:

    first                                              end
      |#########|..hole..|############|..hole..|########|
                                                         ^ the next piece normally lands here

Each sample between `first` and `end` either came (#) or lies in a hole. `place` is given a piece's
position and length and says which parts of it to keep, and where:

* at `end`: the ordinary case, kept whole;
* beyond `end`: kept; between lies a new hole, and its samples count as *lost*, for now;
* on a hole: kept, it fills the hole; it is *late*, for later audio has been handed on already;
* before `first`: kept, and late; the line grows to the front;
* on what is there: *repeated*, and left out, so that no sample is ever handed on twice.

A piece may be several of these at once; it is cut. So the account always balances, whatever the
order of arrival: `received + lost == expected`, where `expected` is `end - first`.

Two bounds keep a hostile or broken clock from costing us anything. At most `HOLES` holes are
remembered: when there are more, the earliest is forgotten, what it lacks stays lost for good, and
what still comes for the time before its end is *discarded*, since it cannot be told from a
repetition any more. And a position further than `jump_seconds` from the line means that the
platform's clock was set anew: the piece is put at `end`, and later positions count from there. So
does one by which more would be missing, together with the other holes, than could have come in the
time since the stream began, and `jump_seconds`: else a line grows by a leap just short of that with
every piece, and a recording of it with the line.

All quantities are samples of one channel. Knows nothing of payloads: a caller cuts them by the
offsets that it is given. Read next: `audio.py`, for what stands in a hole.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["HOLES", "Account", "Kind", "Piece", "Placement", "Timeline"]

HOLES = 256
"""Holes of one track that are remembered at once."""

Kind: TypeAlias = Literal["next", "gap", "late", "repeated", "discarded", "jump", "empty"]
"""The most notable thing about a placement: jump before gap, late, next, repeated, discarded."""


class Piece(NamedTuple):
    """Samples to keep: *length* of them, from *offset* in the source, to *position* on the line."""

    offset: int
    position: int
    length: int


class Placement(NamedTuple):
    """What to do with one piece of audio: keep `pieces` of it, and know that `lost` samples lack.

    `lost` is the hole that opened between the line's end and this audio.
    """

    pieces: tuple[Piece, ...]
    lost: int
    kind: Kind


_EMPTY = Placement((), 0, "empty")


@dataclass(frozen=True, slots=True)
class Account:
    """The sums of one track's audio, in samples. `received + lost == expected`, always.

    `late` of the received came after later audio. `silence` is what a listener in real time heard
    instead of audio: every hole that opened, also those that late audio has filled since.
    `reordered` is all that came after later audio without being a repetition: the late, and the
    discarded, which came too late to be of use. `repeated` and `discarded` were left out. `jumps`
    counts restarts of the platform's clock, not samples.
    """

    first: int = 0
    end: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    repeated: int = 0
    late: int = 0
    reordered: int = 0
    silence: int = 0
    discarded: int = 0
    jumps: int = 0

    def to_json(self) -> dict[str, int]:
        """The account as a JSON object, fields as they are named here."""
        return {name: getattr(self, name) for name in self.__slots__}


class Timeline:
    """The line of one track, as the essay above draws it.

    *sample_rate* samples a second; *jump_seconds* is how far a position may lie from the line
    before the platform's clock counts as restarted.
    """

    def __init__(self, sample_rate: int, jump_seconds: float = 3600.0) -> None:
        self._rate = sample_rate
        self._jump = int(sample_rate * jump_seconds)
        self._first = self._end = 0
        self._begun = False
        self._offset = 0  # of our line against the platform's clock
        self._holes: list[tuple[int, int]] = []  # start and end of each, in order
        self._closed: int | None = None  # what lies before it is forgotten
        self._received = self._lost = self._repeated = 0
        self._late = self._silence = self._discarded = self._jumps = 0

    @property
    def account(self) -> Account:
        """The sums so far."""
        return Account(
            first=self._first,
            end=self._end,
            expected=self._end - self._first,
            received=self._received,
            lost=self._lost,
            repeated=self._repeated,
            late=self._late,
            reordered=self._late + self._discarded,
            silence=self._silence,
            discarded=self._discarded,
            jumps=self._jumps,
        )

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """Where audio is missing: start and end of each hole that is remembered, in order."""
        return tuple(self._holes)

    def place(self, position: int | None, samples: int, age: float = 0.0) -> Placement:
        """Place *samples* samples whose first belongs at *position*; None: after all that came.

        *age* is how long the stream has lasted, in seconds. Always an answer, for any position.
        Nothing comes of no samples.
        """
        if samples <= 0:
            return _EMPTY
        if not self._begun:
            self._begun = True
            self._first = self._end = 0 if position is None else position
        start = self.extend(position, samples)
        if start is not None:
            return Placement((Piece(0, start, samples),), 0, "next")
        assert position is not None
        start = position + self._offset
        hole = max(start - self._end, self._first - start - samples)
        most = self._jump + min(0.0, self._rate * age - self._lost)
        if hole > max(0, most):
            self._offset += self._end - start
            self._jumps += 1
            return self.place(None, samples)._replace(kind="jump")
        if start > self._end:
            return self._after_gap(start, samples)
        return self._behind(start, start + samples)

    def extend(self, position: int | None, samples: int) -> int | None:
        """Place audio if it is the ordinary case: whole, at the end of a line that has begun.

        Returns where its first sample lies. None says that nothing was done and that `place` has to
        decide. It stands by itself because nearly all audio is of this kind, and all that `place`
        has to say of it is this one number.
        """
        end = self._end
        if samples <= 0 or not self._begun:
            return None
        if position is not None and position + self._offset != end:
            return None
        self._end = end + samples
        self._received += samples
        return end

    def _after_gap(self, start: int, samples: int) -> Placement:
        """Place audio beyond the end of the line."""
        gap = start - self._end
        self._lost += gap
        self._silence += gap
        self._holes.append((self._end, start))
        self._forget()
        self._end = start + samples
        self._received += samples
        return Placement((Piece(0, start, samples),), gap, "gap")

    def _behind(self, start: int, stop: int) -> Placement:
        """Place audio that begins before the end of the line, cut at every border it crosses."""
        late, repeated = self._late, self._repeated
        kept: list[tuple[int, int]] = []
        at = start
        if self._closed is not None and at < self._closed:
            at = min(stop, self._closed)
            self._discarded += at - start
        if at < min(stop, self._first):
            kept.append(self._extend_front(at, min(stop, self._first)))
            at = kept[0][1]
        if at < min(stop, self._end):
            kept += self._fill(at, min(stop, self._end))
            at = min(stop, self._end)
        if at < stop:
            kept.append((at, stop))
            self._end = stop
        self._received += sum(b - a for a, b in kept)
        kind: Kind = "discarded"
        if self._late > late:
            kind = "late"
        elif kept:
            kind = "next"
        elif self._repeated > repeated:
            kind = "repeated"
        return Placement(tuple(Piece(a - start, a, b - a) for a, b in kept), 0, kind)

    def _extend_front(self, start: int, stop: int) -> tuple[int, int]:
        """Let the line begin earlier, with audio that nothing was ever placed before."""
        if stop < self._first:
            self._lost += self._first - stop
            self._holes.insert(0, (stop, self._first))
        self._first = start
        self._late += stop - start
        self._forget()
        return start, stop

    def _fill(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Fill what holes there are from *start* to *stop*; the rest is there already."""
        filled: list[tuple[int, int]] = []
        index = bisect_right(self._holes, start, key=lambda hole: hole[1])
        while index < len(self._holes) and self._holes[index][0] < stop:
            opens, closes = self._holes[index]
            fill = max(opens, start), min(closes, stop)
            rest = [part for part in ((opens, fill[0]), (fill[1], closes)) if part[0] < part[1]]
            self._holes[index : index + 1] = rest
            index += len(rest)
            filled.append(fill)
        found = sum(b - a for a, b in filled)
        self._lost -= found
        self._late += found
        self._repeated += stop - start - found
        self._forget()
        return filled

    def _forget(self) -> None:
        """Forget the earliest hole where there are too many, and all that lies before its end."""
        if len(self._holes) > HOLES:
            self._closed = self._holes.pop(0)[1]
