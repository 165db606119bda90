"""Recordings: every sample at its place, a valid file at every moment, and a disk that may fail."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from receiver_lab import FRAME, MULAW, open_lab, patient, pcm, read_wav, settings, settle, sound

from minivoice_ref.cli import main
from minivoice_ref.config import Timeouts
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import InlineDisk, ThreadDisk
from minivoice_ref.receiver.recording import Recording, recording_path

_T = TypeVar("_T")


def a_recording(path: Path, **changes: Any) -> Recording:
    """A recording into *path* that was told to begin."""
    given: dict[str, Any] = {
        "disk": InlineDisk(1),
        "describe": lambda: {"call_id": "../../call"},
        "note": lambda what, **fields: None,
        "timeouts": Timeouts(),
    }
    recording = Recording(path, **given | changes)
    recording.begin(8000)
    return recording


async def record(folder: Path, add: Callable[[Recording], None], **changes: Any) -> Recording:
    """Record what *add* adds, at once, with an inline disk."""
    recording = a_recording(folder / "recordings" / "one.wav", **changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recording.run)
        add(recording)
        await settle()
        recording.finish()
    return recording


def sidecar(recording: Path) -> dict[str, Any]:
    """What the JSON file beside a recording says."""
    document = json.loads(recording.with_suffix(".json").read_text())
    assert isinstance(document, dict)
    return document


async def test_inbound_is_left_and_outbound_is_right_sample_for_sample(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, timeouts=patient())
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            for number in range(260):
                await caller.frame(number, "inbound")
                await caller.frame(number + 1000, "outbound") if number >= 50 else None
            await caller.stop()
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
        (began,) = await lab.lines("streams", "recording")
        assert began["file"] == account["recording"]
    rate, left, right = read_wav(Path(account["recording"]))
    assert rate == 8000
    assert left[: 260 * FRAME * 2] == pcm(0, 260 * FRAME)
    assert left[260 * FRAME * 2 :] == bytes(len(left) - 260 * FRAME * 2)
    assert right[: 1050 * FRAME * 2] == bytes(1050 * FRAME * 2)
    assert right[1050 * FRAME * 2 :] == pcm(1050 * FRAME, 210 * FRAME)
    beside = sidecar(Path(account["recording"]))
    assert beside["call_id"] == "call_1"
    assert beside["tracks"] == account["tracks"]
    assert (beside["begins_at"], beside["samples"]) == (0, 1260 * FRAME)
    assert (beside["left"], beside["right"]) == ("inbound", "outbound")
    assert (beside["trouble"], beside["not_recorded"]) == (None, 0)


async def test_gaps_are_silent_late_pieces_fill_them_and_repeated_ones_change_nothing(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, timeouts=patient())
    numbers = [*range(0, 100), *range(120, 200), *range(110, 120), *range(50, 60)]
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            for number in numbers:
                await caller.frame(number)
            await caller.stop()
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
        (gap,) = await lab.lines("streams", "gap")
    _, left, _ = read_wav(Path(account["recording"]))
    assert left == pcm(0, 100 * FRAME) + bytes(10 * FRAME * 2) + pcm(110 * FRAME, 90 * FRAME)
    inbound = account["tracks"]["inbound"]
    assert (inbound["lost"], inbound["late"], inbound["repeated"]) == (1600, 1600, 1600)
    assert inbound["received"] + inbound["lost"] == inbound["expected"] == 200 * FRAME
    assert (gap["position"], gap["samples"]) == (16000, 3200)


@pytest.mark.parametrize(
    ("position", "format"),
    [(-80001, MULAW), (2**30, MULAW), (0, MediaFormat("mulaw", 16000, 1))],
)
async def test_what_has_no_place_in_the_file_is_counted(
    position: int, format: MediaFormat, tmp_path: Path, autojump_clock: object
) -> None:
    def add(recording: Recording) -> None:
        recording.add("inbound", position, sound(0), format)
        recording.add("outbound", 0, sound(0), MULAW)

    recording = await record(tmp_path, add)
    assert (recording.not_recorded, recording.trouble) == (FRAME, None)
    assert read_wav(recording.path)[2] == pcm(0, FRAME)


def plivo(track: Track, milliseconds: int, position: int) -> str:
    """20 ms of a track as Plivo sends them, timed by Unix time."""
    payload = base64.b64encode(sound(position)).decode()
    media = {"track": track, "timestamp": str(milliseconds), "chunk": 1, "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": 1, "streamId": "s", "media": media})


async def test_a_track_that_began_before_the_first_one_to_come_is_recorded_from_its_beginning(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Plivo's Unix time: the agent's first timestamp is older than the caller's, which came first.

    Real pieces of both tracks, one of them also after the file's first second was written.
    """
    start = {"callId": "call_1", "streamId": "s", "accountId": "a", "tracks": ["inbound"]}
    start["mediaFormat"] = {"encoding": "audio/x-mulaw", "sampleRate": 8000}  # type: ignore
    config = settings(tmp_path, record=True, capture=True, timeouts=patient())
    zero = 1_780_000_000_000
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.socket.send(json.dumps({"event": "start", "start": start}))
            for number in range(120):
                at = zero + 20 * number
                await caller.socket.send(plivo("inbound", at, number * FRAME))
                if number != 3:
                    await caller.socket.send(plivo("outbound", at - 70, number * FRAME + 5000))
                await trio.sleep(0.02)
            await caller.socket.send(plivo("outbound", zero - 150, 9000))  # late, and before all
            await caller.socket.close(1000)
        (account,) = await lab.lines("streams", "account")
    assert account["tracks"]["outbound"]["first"] == -150 * 8
    path = Path(account["recording"])
    beside = sidecar(path)
    assert (beside["begins_at"], beside["not_recorded"]) == (-1200, 0)
    _, left, right = read_wav(path)
    assert beside["samples"] == 1200 + 120 * FRAME == len(left) // 2
    assert left == bytes(2 * 1200) + pcm(0, 120 * FRAME)
    spoken = pcm(5000, 3 * FRAME) + bytes(2 * FRAME) + pcm(5000 + 4 * FRAME, 116 * FRAME)
    assert right == pcm(9000, FRAME) + bytes(2 * 480) + spoken + bytes(2 * 560)
    shown = tmp_path / "shown.wav"
    assert main(["show", account["capture"], "--wav", str(shown), "--json"]) == 0
    assert shown.read_bytes() == path.read_bytes()


async def test_a_far_jump_leaves_a_sparse_file(tmp_path: Path, autojump_clock: object) -> None:
    def add(recording: Recording) -> None:
        recording.add("inbound", 0, sound(0), MULAW)
        recording.add("inbound", 3600 * 8000, sound(0), MULAW)

    recording = await record(tmp_path, add)
    status = recording.path.stat()
    assert status.st_size == 44 + (3600 * 8000 + FRAME) * 4
    assert status.st_blocks * 512 < 100_000


async def test_recordings_and_their_folder_are_for_the_owner_alone(
    tmp_path: Path, autojump_clock: object
) -> None:
    recording = await record(tmp_path, lambda recording: None)
    files = [recording.path, recording.path.with_suffix(".json")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert stat.S_IMODE(recording.path.parent.stat().st_mode) == 0o700
    assert sorted(recording.path.parent.iterdir()) == sorted(files)


async def test_audio_is_written_in_whole_seconds(tmp_path: Path, autojump_clock: object) -> None:
    writes: list[int] = []

    class Counting(InlineDisk):
        async def run(self, work: Callable[[], _T]) -> _T:
            result = await super().run(work)
            if isinstance(work, partial) and work.func.__name__ == "put":
                writes.append(len(work.args[0]))
            return result

    config = settings(tmp_path, record=True, timeouts=patient())
    async with open_lab(App(), config, disk=Counting) as lab:
        async with lab.stream() as caller:
            await caller.start("inbound")
            await caller.speak(175)
            await caller.stop()
            await caller.close_code()
        await settle()
    assert writes == [50, 50, 50, 25]


class Disk:
    """A disk that is told how to behave."""

    def __init__(self, threads: int) -> None:
        self.error: Exception | None = None
        self.stuck: trio.Event | None = None
        self.inline = InlineDisk(threads)

    async def run(self, work: Callable[[], _T]) -> _T:
        if self.stuck is not None:
            await self.stuck.wait()
        if self.error is not None:
            raise self.error
        return await self.inline.run(work)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
async def test_a_failing_disk_ends_the_recording_and_never_the_stream(
    error: Exception, tmp_path: Path, autojump_clock: object
) -> None:
    recordings = Disk(4)

    def open_disk(threads: int) -> Disk:
        return recordings if threads == 4 else Disk(threads)

    config = settings(tmp_path, record=True, timeouts=patient())
    async with open_lab(App(), config, disk=open_disk) as lab:
        before = await settle()
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(60, "inbound", "outbound")
            recordings.error = error
            await caller.speak(60, "inbound", "outbound", first=60)
            await settle()
            (failed,) = await lab.lines("streams", "recording_failed")
            assert type(error).__name__ in failed["why"]
            recordings.error = None
            await caller.speak(60, "inbound", "outbound", first=120)
            await caller.stop()
            assert await caller.close_code() == 1000
        assert await settle() == before
        (account,) = await lab.lines("streams", "account")
        assert account["tracks"]["inbound"]["received"] == 180 * FRAME
        assert "recording" not in account
        assert len(await lab.lines("streams", "recording")) == 1
    (file,) = (config.data / "recordings").glob("*.wav")
    assert read_wav(file)[1] == pcm(0, 50 * FRAME)  # what was written stays, and is valid
    beside = sidecar(file)
    assert beside["tracks"] == account["tracks"] and type(error).__name__ in beside["trouble"]
    assert beside["not_recorded"] == (180 - 50 + 180 - 49) * FRAME


async def test_a_folder_that_cannot_be_made_ends_the_recording_at_once(
    tmp_path: Path, autojump_clock: object
) -> None:
    (tmp_path / "recordings").write_text("in the way")
    recording = await record(tmp_path, lambda recording: recording.finish())
    assert recording.trouble is not None
    recording.add("inbound", 0, sound(0), MULAW)
    assert recording.not_recorded == FRAME


async def test_a_recording_that_cannot_begin_is_not_said_to_have_begun(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True)
    config.data.mkdir()
    (config.data / "recordings").write_text("in the way")
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.stop()
            await caller.close_code()
        assert not await lab.lines("streams", "recording")
        assert len(await lab.lines("streams", "recording_failed")) == 1


async def test_a_stuck_disk_costs_thirty_seconds_of_memory_and_no_more(
    tmp_path: Path, autojump_clock: object
) -> None:
    disk = Disk(1)
    disk.stuck = trio.Event()

    def add(recording: Recording) -> None:
        for number in range(40 * 50):
            recording.add("inbound", number * FRAME, sound(0), MULAW)
        assert disk.stuck is not None
        disk.stuck.set()

    recording = await record(tmp_path, add, disk=disk)
    assert recording.not_recorded == sidecar(recording.path)["not_recorded"] == 10 * 8000
    assert recording.path.stat().st_size == 44 + 30 * 8000 * 4


async def test_a_cancelled_recording_is_closed_whole(
    tmp_path: Path, autojump_clock: object
) -> None:
    path = tmp_path / "one.wav"
    recording = a_recording(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recording.run)
        await settle()
        recording.add("inbound", 0, sound(0), MULAW)
        nursery.cancel_scope.cancel()
    assert read_wav(path)[1] == pcm(0, FRAME)
    assert sidecar(path)["samples"] == FRAME


async def test_a_stream_that_never_starts_leaves_no_recording(
    tmp_path: Path, autojump_clock: object
) -> None:
    note, timeouts = lambda what, **fields: None, Timeouts()
    recording = Recording(tmp_path / "one.wav", InlineDisk(1), dict, note=note, timeouts=timeouts)
    with trio.CancelScope() as scope:
        scope.cancel()
        await recording.run()
    assert list(tmp_path.iterdir()) == [] and recording.file is None


async def test_a_recording_in_a_thread_is_the_same(tmp_path: Path) -> None:
    def add(recording: Recording) -> None:
        for number in range(150):
            recording.add("inbound", number * FRAME, sound(number * FRAME), MULAW)

    recording = await record(tmp_path, add, disk=ThreadDisk(1))
    assert read_wav(recording.path)[1] == pcm(0, 150 * FRAME)


def test_files_are_named_by_time_and_our_own_id(tmp_path: Path) -> None:
    path = recording_path(tmp_path, "stream_12ab", 1_780_000_000.0)
    assert path == tmp_path / "20260528T202640Z_stream_12ab.wav"


async def test_a_call_id_never_becomes_part_of_a_path(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True)
    async with open_lab(App(), config) as lab:
        async with lab.stream("../../../call") as caller:
            await caller.start()
            await caller.speak(1)
            await caller.stop()
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
    assert account["call_id"] == "../../../call"
    assert Path(account["recording"]).parent == config.data / "recordings"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


async def test_pieces_of_one_sample_do_not_fill_the_memory_while_a_disk_is_stuck(
    tmp_path: Path, autojump_clock: object
) -> None:
    disk = Disk(1)
    disk.stuck = trio.Event()
    recording = a_recording(tmp_path / "one.wav", disk=disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recording.run)
        for position in range(50_000):
            recording.add("inbound", position, b"\xff", MULAW)
        assert len(recording._writer._waiting) == 30_000
        disk.stuck.set()
        recording.finish()
    assert recording.not_recorded == 20_000
