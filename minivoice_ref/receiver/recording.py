"""Records one stream: a stereo WAV, the caller left and the agent right, and a JSON file beside it.

The receiving task adds audio as it came, which costs it an append. A task of the stream hands it
to the disk in whole seconds, where it is decoded and put at its place: by the platform's
timestamp, with silence where nothing came, late pieces where they belong. At every moment the
file is a valid WAV.

A disk that fails ends the recording and nothing else; the file keeps what was written before.
Files are named by time and by our own stream id: a call's id is hostile input and stands in the
JSON only.

This module knows nothing of sockets. Read next: `stream.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.receiver.disk import Disk
from minivoice_ref.receiver.wav import LEFT, RIGHT, Patch, StereoWav

__all__ = ["CHANNELS", "Recording", "recording_path"]

CHANNELS: Mapping[Track, tuple[int, ...]] = {
    "inbound": (LEFT,),
    "outbound": (RIGHT,),
    "mixed": (LEFT, RIGHT),
}
"""Where each track is heard."""

_MOST_SECONDS = 30  # of a track that wait for the disk


def recording_path(folder: Path, stream_id: str, began: float) -> Path:
    """The file of a stream that began at *began* (Unix seconds): unique, sorted by time."""
    moment = datetime.fromtimestamp(began, timezone.utc)
    return folder / f"{moment:%Y%m%dT%H%M%SZ}_{stream_id}.wav"


class Recording:
    """The recording of one stream into the new file *path*, while `run` runs.

    *describe* says what goes into the JSON file when all is written. Of each track, 30 seconds at
    most wait for the disk; what does not fit is left out of the file and counted in `not_recorded`
    (samples), as is what has no place in a WAV file. `timeouts.finish` bounds the last write.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        disk: Disk,
        describe: Callable[[], Mapping[str, object]],
        *,
        timeouts: Timeouts,
    ) -> None:
        self.path = path
        self.trouble: str | None = None
        self.not_recorded = 0
        self._sample_rate = sample_rate
        self._disk = disk
        self._describe = describe
        self._patience = timeouts.finish
        self._file: StereoWav | None = None
        self._waiting: list[Patch] = []
        self._samples: dict[Track, int] = {}
        self._something_to_do = trio.Event()
        self._finished = trio.Event()

    @property
    def file(self) -> Path | None:
        """The file, for the log; None where it was never made, or is not whole."""
        return None if self.trouble or self._file is None else self.path

    def add(self, track: Track, position: int, payload: bytes, format: MediaFormat) -> None:
        """Record a piece of audio. Never waits."""
        samples = format.samples(len(payload))
        waiting = self._samples.get(track, 0) + samples
        if self.trouble or waiting > _MOST_SECONDS * self._sample_rate:
            self.not_recorded += samples
            return
        self._waiting.append(Patch(CHANNELS[track], position, payload, format))
        self._samples[track] = waiting
        if waiting >= self._sample_rate:
            self._something_to_do.set()

    def finish(self) -> None:
        """Say that nothing more comes: `run` writes the rest and returns."""
        self._finished.set()
        self._something_to_do.set()

    async def run(self, on_open: Callable[[], None] = lambda: None) -> None:
        """Write what is added until `finish`, or until the disk fails and `trouble` says how.

        *on_open* is called when there is a file. Cancelled, it waits for `finish`, because what the
        stream holds back comes last of all, then writes what it has and closes the file: each may
        take `timeouts.finish`, the disk's last work a moment more.
        """
        try:
            await self._try(self._open)
            if self._file is not None:
                on_open()
            while not self._finished.is_set() and self.trouble is None:
                await self._something_to_do.wait()
                self._something_to_do = trio.Event()
                await self._try(partial(self._put, self._take()))
        finally:
            if self.file is not None:
                with trio.move_on_after(self._patience, shield=True):
                    await self._finished.wait()
            with trio.move_on_after(self._patience, shield=True):
                await self._try(partial(self._close, self._take()))
                # What happened to the last of the audio belongs in here, so it is written after it.
                await self._try(self._write_account)

    def _take(self) -> list[Patch]:
        patches, self._waiting = self._waiting, []
        self._samples.clear()
        return patches

    async def _try(self, work: Callable[[], None]) -> None:
        """Do disk work; take down what the disk, or the memory, would not do."""
        await trio.lowlevel.checkpoint()
        try:
            await self._disk.run(work)
        except (OSError, MemoryError) as exc:
            self.trouble = self.trouble or f"{type(exc).__name__}: {exc}"

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = StereoWav(self.path, self._sample_rate)

    def _put(self, patches: list[Patch]) -> None:
        if self._file is not None and patches:
            self.not_recorded += self._file.put(patches)

    def _close(self, rest: list[Patch]) -> None:
        if self._file is None:
            return
        try:
            if self.trouble is None:
                self._put(rest)
        finally:
            self._file.close()

    def _write_account(self) -> None:
        """Write the JSON file, whole or not at all."""
        if self._file is None:
            return
        document = {
            **self._describe(),
            "file": self.path.name,
            "sample_rate": self._sample_rate,
            "left": "inbound",
            "right": "outbound",
            "samples": self._file.frames,
            "not_recorded": self.not_recorded,
            "trouble": self.trouble,
        }
        path = self.path.with_suffix(".json")
        unfinished = path.with_suffix(".json.part")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
        os.replace(unfinished, path)
