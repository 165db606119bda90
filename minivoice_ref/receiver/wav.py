"""A stereo WAV file into which patches of sound are put at their places, in any order.

Plain blocking code for a worker thread. The file is a valid WAV from its first write on: the
samples are written first, the header that counts them last. Where nothing was put there is
silence, and where much is missing the file is sparse.

The file begins at the stream's position 0. Where the second track turns out to have begun before
the first one that came, which the platform's timestamps call 0, audio lies before that: the file
then begins earlier, and what is in it is moved, while it is short enough for that.

Facts: RIFF WAVE, PCM, 16 bits, two channels; its sizes are 32 bits wide, which bounds the file.
Read next: `recording.py`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minivoice_ref.protocol.audio import to_pcm
from minivoice_ref.protocol.media import MediaFormat

__all__ = ["LEFT", "RIGHT", "Patch", "StereoWav"]

LEFT, RIGHT = 0, 1

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_FRAME = 4  # bytes of one sample of both channels
_HEADROOM = 10  # seconds before position 0 that have a place, if they come in the first so many
_LONGEST_WRITE = 30  # seconds, so that few samples far from each other do not fill the memory
_MOST_FRAMES = (2**32 - 1 - _HEADER.size) // _FRAME


@dataclass(frozen=True, slots=True)
class Patch:
    """Audio for one or both channels, as it was sent; `position` is its place in samples."""

    channels: tuple[int, ...]
    position: int
    payload: bytes
    format: MediaFormat

    @property
    def end(self) -> int:
        """The position behind the last sample."""
        return self.position + self.format.samples(len(self.payload))


class StereoWav:
    """An open WAV file. Everything but the constructor may raise OSError and leave a valid file."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Make the file, for the owner's eyes only. Raises OSError where it cannot or exists."""
        self._sample_rate = sample_rate
        self._headroom = _HEADROOM * sample_rate
        self._begins_at = self._first = 0  # where the file begins; where it is to, after `put`
        self._end = 0  # of what has been put, in positions
        self._frames = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._write_header()
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def frames(self) -> int:
        """The samples of each channel that the header counts."""
        return self._frames

    @property
    def begins_at(self) -> int:
        """The position of the file's first sample: 0, or a negative one."""
        return self._begins_at

    def put(self, patches: Iterable[Patch]) -> int:
        """Put patches at their places; return how many of their samples have none in this file.

        Those are what lies too far before position 0 or comes too late for it, lies behind 4 GiB,
        or has another sample rate. The same patches in the same order make the same file, however
        they are divided among calls.
        """
        placed = []
        refused = 0
        for patch in patches:
            if self._has_place(patch):
                placed.append(patch)
            else:
                refused += patch.end - patch.position
        if self._first < self._begins_at:
            self._begin_earlier()
        for neighbours in self._neighbours(placed):
            self._put_together(neighbours)
        if placed:
            self._write_header()
        return refused

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _has_place(self, patch: Patch) -> bool:
        """Whether the file has a place for a patch, if need be by beginning earlier."""
        first, end = min(self._first, patch.position), max(self._end, patch.end)
        is_early = first < self._first
        if (
            (is_early and (first < -self._headroom or self._end > self._headroom))
            or end - first > _MOST_FRAMES
            or patch.format.sample_rate != self._sample_rate
        ):
            return False
        self._first, self._end = first, end
        return True

    def _begin_earlier(self) -> None:
        """Move what is in the file, which is not much yet, so that it begins at `_first`."""
        shift = self._begins_at - self._first
        if self._frames:
            old = os.pread(self._descriptor, self._frames * _FRAME, _HEADER.size)
            new = memoryview(bytes(shift * _FRAME) + old)
            # The part that needs room on the disk goes first: where there is none, all stays as it
            # was.
            self._write(new[len(old) :], _HEADER.size + len(old))
            self._write(new[: len(old)], _HEADER.size)
            self._frames += shift
        self._begins_at = self._first

    def _neighbours(self, patches: list[Patch]) -> Iterator[list[Patch]]:
        """Group patches that lie within a second of each other: each group is one write."""
        longest = _LONGEST_WRITE * self._sample_rate
        group: list[Patch] = []
        end = 0
        for patch in sorted(patches, key=lambda patch: patch.position):
            is_far = patch.position > end + self._sample_rate
            if group and (is_far or patch.end > group[0].position + longest):
                yield group
                group = []
            group.append(patch)
            end = max(end, patch.end)
        if group:
            yield group

    def _put_together(self, patches: list[Patch]) -> None:
        """Lay patches over what the file has there: often the other channel is in it already."""
        start, end = patches[0].position, max(patch.end for patch in patches)
        offset = _HEADER.size + (start - self._begins_at) * _FRAME
        size = (end - start) * _FRAME
        frames = bytearray(os.pread(self._descriptor, size, offset).ljust(size, b"\0"))
        for patch in patches:
            pcm = to_pcm(patch.payload, patch.format)
            first, last = (patch.position - start) * _FRAME, (patch.end - start) * _FRAME
            for channel in patch.channels:
                low = first + 2 * channel
                frames[low:last:_FRAME] = pcm[0::2]
                frames[low + 1 : last : _FRAME] = pcm[1::2]
        self._write(frames, offset)
        self._frames = max(self._frames, end - self._begins_at)

    def _write_header(self) -> None:
        size = self._frames * _FRAME
        rate = self._sample_rate
        riff = (b"RIFF", _HEADER.size - 8 + size, b"WAVE")
        form = (b"fmt ", 16, 1, 2, rate, rate * _FRAME, _FRAME, 16)
        self._write(_HEADER.pack(*riff, *form, b"data", size), 0)

    def _write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
