"""Records one stream: a stereo WAV, the caller left and the agent right, and a JSON file beside it.

The receiving task adds audio as it came, which costs it an append. A task of the stream hands it
to the disk in whole seconds, where it is decoded and put at its place: by the platform's
timestamp, with silence where nothing came, late pieces where they belong. At every moment the
file is a valid WAV.

A disk that fails ends the recording and nothing else; the file keeps what was written before.
Audio that is not in the file, for whatever reason, is counted. Files are named by time and by our
own stream id: a call's id is hostile input and stands in the JSON only.

The JSON file has the account of the stream, and of the WAV: `begins_at` is the stream's position
(in samples) that the first sample of the WAV has: 0, or less where audio came from before it.

This module knows nothing of sockets. Read next: `stream.py`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minivoice_ref.config import Timeouts
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.receiver.disk import Disk, Writer
from minivoice_ref.receiver.journal import Note
from minivoice_ref.receiver.wav import LEFT, RIGHT, Patch, StereoWav

if TYPE_CHECKING:
    from minivoice_ref.receiver.shared import Shared

__all__ = ["CHANNELS", "Recording", "new_recording", "recording_path"]

CHANNELS: Mapping[Track, tuple[int, ...]] = {
    "inbound": (LEFT,),
    "outbound": (RIGHT,),
    "mixed": (LEFT, RIGHT),
}
"""Where each track is heard."""

_SECOND = 1_000_000  # what waits is counted in microseconds of a track
_MOST_SECONDS = 30  # of a track that wait for the disk
_LEAST = 1000  # that a piece counts however short it is, for it takes its memory
_LATEST = 2.0  # seconds until less than a second of audio is written, too


def recording_path(folder: Path, stream_id: str, began: float) -> Path:
    """The file of a stream that began at *began* (Unix seconds): unique, sorted by time."""
    moment = datetime.fromtimestamp(began, timezone.utc)
    return folder / f"{moment:%Y%m%dT%H%M%SZ}_{stream_id}.wav"


def new_recording(
    shared: Shared, stream_id: str, describe: Callable[[], Mapping[str, object]], note: Note
) -> Recording | None:
    """The recording of a stream that was just opened; None where the setting is off.

    *describe* and *note* are those of `Recording`.
    """
    config = shared.config
    if not config.record:
        return None
    path = recording_path(config.data / "recordings", stream_id, shared.clock())
    disk, timeouts = shared.recordings, config.timeouts
    return Recording(path, disk, describe, note=note, timeouts=timeouts)


class Recording:
    """The recording of one stream into the new file *path*, while `run` runs.

    There is no file before `begin`. *describe* says at the end what goes into the JSON file. Of
    each track, 30 seconds at most wait for the disk; what does not fit is left out of the file.
    *note* logs where the file is, and what became of it if something did. `timeouts.finish` bounds
    each of the last writes.
    """

    def __init__(
        self,
        path: Path,
        disk: Disk,
        describe: Callable[[], Mapping[str, object]],
        *,
        note: Note,
        timeouts: Timeouts,
    ) -> None:
        self.path = path
        self._describe = describe
        self._added = 0
        self._sink = _Files(path)
        self._writer = Writer(
            self._sink,
            disk,
            most=_MOST_SECONDS * _SECOND,
            many=_SECOND,
            every=_LATEST,
            on_open=partial(note, "recording", file=path),
            on_trouble=lambda why: note(
                "recording_failed", level=logging.ERROR, code="MV-703", why=why
            ),
            timeouts=timeouts,
        )

    @property
    def file(self) -> Path | None:
        """The file, for the log; None where it was never made, or is not whole."""
        writer = self._writer
        return self.path if writer.is_open and writer.trouble is None else None

    @property
    def trouble(self) -> str | None:
        """What ended the recording before its stream, if anything did."""
        return self._writer.trouble

    @property
    def not_recorded(self) -> int:
        """The samples that were added and are not in the file, as far as the disk has come."""
        return self._added - self._sink.recorded

    def begin(self, sample_rate: int) -> None:
        """Say that the stream has started, with so many samples a second."""
        self._sink.sample_rate = sample_rate
        self._writer.begin()

    def add(self, track: Track, position: int, payload: bytes, format: MediaFormat) -> None:
        """Record a piece of audio. Never waits."""
        samples = format.samples(len(payload))
        self._added += samples
        patch = Patch(CHANNELS[track], position, payload, format)
        share = max(samples * _SECOND // format.sample_rate, _LEAST)
        self._writer.add(patch, share, track)

    def finish(self) -> None:
        """Say that nothing more comes: `run` writes the rest and returns."""
        self._sink.told = self._describe()
        self._sink.added = self._added
        self._writer.finish()

    async def run(self) -> None:
        """Write what is added until `finish`; a disk that fails is logged. See `Writer.run`."""
        await self._writer.run()


class _Files:
    """What the disk has of a recording: the WAV and the JSON file. See `disk.Sink`.

    Each field is written by the stream's thread or by the disk's, never by both.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wav: StereoWav | None = None
        self.recorded = 0  # samples; the one field that is the disk's
        self.sample_rate = 0
        self.added = 0
        self.told: Mapping[str, object] = {}

    def open(self) -> None:
        """Make the folder and the WAV."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._wav = StereoWav(self._path, self.sample_rate)

    def put(self, patches: Sequence[Patch]) -> None:
        """Put patches at their places."""
        assert self._wav is not None
        refused = self._wav.put(patches)
        self.recorded += sum(patch.end - patch.position for patch in patches) - refused

    def close(self, trouble: str | None) -> None:
        """Close the WAV and write the JSON file, whole or not at all."""
        if self._wav is None:
            return
        self._wav.close()
        document = {
            **self.told,
            "file": self._path.name,
            "sample_rate": self.sample_rate,
            "left": "inbound",
            "right": "outbound",
            "begins_at": self._wav.begins_at,
            "samples": self._wav.frames,
            "not_recorded": self.added - self.recorded,
            "trouble": trouble,
        }
        path = self._path.with_suffix(".json")
        unfinished = path.with_suffix(".json.part")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
        os.replace(unfinished, path)
