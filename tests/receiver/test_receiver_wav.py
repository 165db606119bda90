"""The stereo WAV: patches at their places, in any order; a valid file at every moment."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from receiver_lab import FRAME, MULAW, pcm, read_wav, sound

from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.receiver.wav import LEFT, RIGHT, Patch, StereoWav


def test_pieces_in_any_order_make_the_same_file(tmp_path: Path) -> None:
    pieces = [
        Patch((channel,), at * FRAME, sound(at * FRAME + channel * 5000), MULAW)
        for at in range(0, 500, 3)
        for channel in (LEFT, RIGHT)
    ]
    files = []
    for turn in range(3):
        random.Random(turn).shuffle(pieces)
        file = StereoWav(tmp_path / f"{turn}.wav", 8000)
        for start in range(0, len(pieces), 50):
            assert file.put(pieces[start : start + 50]) == 0
        file.close()
        files.append((tmp_path / f"{turn}.wav").read_bytes())
    assert files[0] == files[1] == files[2]
    _, left, right = read_wav(tmp_path / "0.wav")
    assert left[2 * 3 * FRAME : 2 * 4 * FRAME] == pcm(3 * FRAME, FRAME)
    assert right[2 * 3 * FRAME : 2 * 4 * FRAME] == pcm(3 * FRAME + 5000, FRAME)
    assert left[2 * FRAME : 2 * 3 * FRAME] == bytes(2 * 2 * FRAME)


def test_the_file_is_a_valid_wav_from_its_first_moment_on(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    file = StereoWav(path, 8000)
    assert read_wav(path) == (8000, b"", b"")
    for second in range(3):
        file.put([Patch((LEFT,), second * 8000, sound(second * 8000, 8000), MULAW)])
        _, left, right = read_wav(path)
        assert left == pcm(0, (second + 1) * 8000)
        assert right == bytes(len(left))
    file.close()


def test_a_mixed_track_is_heard_on_both_sides(tmp_path: Path) -> None:
    linear = MediaFormat("l16le", 16000, 1)
    file = StereoWav(tmp_path / "one.wav", 16000)
    file.put([Patch((LEFT, RIGHT), 0, b"\x01\x02\x03\x04", linear)])
    file.close()
    assert read_wav(tmp_path / "one.wav") == (16000, b"\x01\x02\x03\x04", b"\x01\x02\x03\x04")


def test_the_same_pieces_in_the_same_order_make_the_same_file_however_they_are_divided(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    pieces = [
        Patch((chance.choice((LEFT, RIGHT)),), place, sound(place + 80000), MULAW)
        for place in (chance.randrange(-90_000, 600 * number) for number in range(1, 301))
    ]
    files, refused = set(), set()
    for size in (1, 7, 300):
        file = StereoWav(tmp_path / f"{size}.wav", 8000)
        parts = [pieces[at : at + size] for at in range(0, len(pieces), size)]
        refused.add(sum(file.put(part) for part in parts))
        file.close()
        files.add((tmp_path / f"{size}.wav").read_bytes())
        assert file.begins_at < 0
    assert len(files) == len(refused) == 1 and refused != {0}


def test_a_file_of_more_than_ten_seconds_no_longer_moves(tmp_path: Path) -> None:
    file = StereoWav(tmp_path / "one.wav", 8000)
    early, late = Patch((LEFT,), -FRAME, sound(0), MULAW), Patch((LEFT,), 79_841, sound(0), MULAW)
    assert file.put([late]) == 0
    assert file.put([early]) == FRAME and file.begins_at == 0
    assert file.put([Patch((LEFT,), 0, sound(0), MULAW)]) == 0
    file.close()


def test_where_the_disk_is_full_a_file_that_would_have_moved_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.wav"
    file = StereoWav(path, 8000)
    file.put([Patch((LEFT,), 0, sound(0, 8000), MULAW)])
    before, whole = path.read_bytes(), os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset + len(data) > len(before):
            raise OSError(28, "No space left on device")
        return whole(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            file.put([Patch((LEFT,), -FRAME, sound(0), MULAW)])
    file.close()
    assert path.read_bytes() == before


def test_few_samples_far_from_each_other_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest, whole = 0, os.pwrite

    def write(descriptor: int, data: bytes, offset: int) -> int:
        nonlocal longest
        longest = max(longest, len(data))
        return whole(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
    file = StereoWav(tmp_path / "one.wav", 8000)
    file.put([Patch((LEFT,), 7900 * number, b"\x12", MULAW) for number in range(400)])
    file.close()
    assert longest <= 30 * 8000 * 4
    _, left, _ = read_wav(tmp_path / "one.wav")
    assert left[:: 2 * 7900] == left[:1] * 400 != bytes(400)


def test_a_recording_never_takes_the_place_of_another(tmp_path: Path) -> None:
    StereoWav(tmp_path / "one.wav", 8000).close()
    with pytest.raises(FileExistsError):
        StereoWav(tmp_path / "one.wav", 8000)


def test_a_file_whose_header_cannot_be_written_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(OSError, match="No space"):
        StereoWav(tmp_path / "one.wav", 8000)
    assert len(os.listdir("/proc/self/fd")) == before
