"""A recording for the browser: in ranges, whole where it is short, and only what is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing
from console_lab import open_console_lab
from receiver_lab import patient

from minivoice_ref.console.recordings import read_part, read_recording

MEBIBYTE = 1024 * 1024


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A file of three mebibytes in which each place is known."""
    path = tmp_path / "some.wav"
    path.write_bytes(bytes(range(256)) * (3 * MEBIBYTE // 256))
    return path


@pytest.mark.parametrize(
    ("wanted", "place", "size"),
    [
        ("bytes=0-9", "0-9", 10),
        ("bytes=300-", f"300-{300 + MEBIBYTE - 1}", MEBIBYTE),  # shorter than asked for
        (f"bytes={3 * MEBIBYTE - 4}-{9 * MEBIBYTE}", f"{3 * MEBIBYTE - 4}-{3 * MEBIBYTE - 1}", 4),
    ],
)
def test_a_range_is_answered_with_at_most_a_mebibyte(
    wanted: str, place: str, size: int, wav: Path
) -> None:
    part = read_part(wav, wanted)
    start = int(place.partition("-")[0])
    assert (part.status, len(part.body)) == (206, size)
    assert part.header("content-range") == f"bytes {place}/{3 * MEBIBYTE}"
    assert part.body[:1] == bytes([start % 256])


@pytest.mark.parametrize("wanted", [f"bytes={3 * MEBIBYTE}-", "bytes=9-3"])
def test_a_range_that_is_not_there_is_refused(wanted: str, wav: Path) -> None:
    refused = read_part(wav, wanted)
    assert refused.status == 416
    assert refused.header("content-range") == f"bytes */{3 * MEBIBYTE}"


@pytest.mark.parametrize("wanted", [None, "bytes=-500", "lines=1-2", "bytes=0-1,4-5"])
def test_without_a_plain_range_all_of_it_comes_if_it_is_short(
    wanted: str | None, wav: Path
) -> None:
    whole = read_part(wav, wanted)
    assert (whole.status, len(whole.body)) == (200, 3 * MEBIBYTE)
    assert whole.header("content-disposition") == "attachment; filename=some.wav"
    os.truncate(wav, 33 * MEBIBYTE)
    assert read_part(wav, wanted).status == 416


async def test_the_recording_of_a_stream_is_found_by_its_id(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, record=True, timeouts=patient()) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(10)
            await caller.stop()
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
        stream = account["stream_id"]
        part = await lab.get(f"recordings/{stream}", Range="bytes=0-3")
        assert (part.status, part.body) == (206, b"RIFF")
        # Without the token there is no recording.
        assert (await lab.request("GET", f"/console/recordings/{stream}")).status == 401
        Path(account["recording"]).unlink()
        assert (await lab.get(f"recordings/{stream}")).status == 404


@pytest.mark.parametrize(
    "asked", ["stream_0", "*", "stream_*", "..%2Fsecret", "../stream_1", "stream_g", "stream_"]
)
async def test_only_the_id_of_a_stream_finds_a_recording(
    asked: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    folder = tmp_path / "data" / "recordings"
    folder.mkdir(parents=True)
    for path in (folder / "a_stream_1.wav", tmp_path / "data" / "a_stream_0.wav"):
        path.write_bytes(b"RIFF")
    async with open_console_lab(tmp_path) as lab:
        assert (await lab.get("recordings/stream_1")).body == b"RIFF"
        assert (await lab.get(f"recordings/{asked}")).status in (400, 404)


def test_a_recording_that_cannot_be_read_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a_stream_1.wav").mkdir()
    assert read_recording(tmp_path, "stream_1", None).status == 404


async def test_a_log_line_cannot_make_another_file_a_recording(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "streams.jsonl").write_text(
        '{"time": "2026-05-29T12:00:00Z", "log": "streams", "what": "account",'
        ' "stream_id": "stream_1", "recording": "/etc/passwd"}\n'
    )
    async with open_console_lab(tmp_path) as lab:
        assert (await lab.get("recordings/stream_1")).status == 404
