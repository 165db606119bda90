"""WAV files as people have them: every width, kind and number of channels, and broken ones."""

from __future__ import annotations

import math
import struct
import wave
from array import array
from pathlib import Path

import pytest

from minivoice_ref.protocol.audio import encode_alaw, encode_mulaw
from minivoice_ref.simulator.wav import BadWav, Wav, read_wav

TONE = [round(12000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(800)]
PCM = struct.pack(f"<{len(TONE)}h", *TONE)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A RIFF/WAVE file of *chunks*, padded to even sizes as the format asks."""
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)
        for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def layout(code: int, width: int, *, channels: int = 1, rate: int = 8000) -> bytes:
    """The content of a `fmt ` chunk."""
    block = channels * width
    return struct.pack("<HHIIHH", code, channels, rate, rate * block, block, 8 * width)


def samples(wav: Wav) -> list[int]:
    return list(struct.unpack(f"<{len(wav.pcm) // 2}h", wav.pcm))


def written_by_the_standard_library(path: Path, width: int, channels: int, data: bytes) -> bytes:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(44100)
        file.writeframes(data)
    return path.read_bytes()


def widened(width: int) -> bytes:
    """The tone with *width* bytes a sample; 8 bits are unsigned in a WAV file."""
    if width == 1:
        return bytes((sample >> 8) + 128 for sample in TONE)
    return b"".join(
        (sample << 8 * (width - 2)).to_bytes(width, "little", signed=True) for sample in TONE
    )


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_every_width_are_read_as_16_bits(tmp_path: Path, width: int) -> None:
    content = written_by_the_standard_library(tmp_path / "tone.wav", width, 1, widened(width))
    wav = read_wav(content, "tone.wav")
    assert wav.rate == 44100
    assert samples(wav) == ([sample >> 8 << 8 for sample in TONE] if width == 1 else TONE)


@pytest.mark.parametrize(("typecode", "width"), [("f", 4), ("d", 8)])
def test_floating_point_is_read_clipped_and_cleaned(typecode: str, width: int) -> None:
    values = array(typecode, [0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, math.inf, math.nan])
    content = riff((b"fmt ", layout(3, width)), (b"data", values.tobytes()))
    expected = [0, 16384, -16384, 32767, -32767, 32767, -32767, 0, 0]
    assert samples(read_wav(content, "float.wav")) == expected


def test_g711_is_read() -> None:
    mulaw = read_wav(riff((b"fmt ", layout(7, 1)), (b"data", encode_mulaw(PCM))), "u.wav")
    alaw = read_wav(riff((b"fmt ", layout(6, 1)), (b"data", encode_alaw(PCM))), "a.wav")
    assert encode_mulaw(mulaw.pcm) == encode_mulaw(PCM) and len(mulaw.pcm) == len(PCM)
    assert encode_alaw(alaw.pcm) == encode_alaw(PCM) and len(alaw.pcm) == len(PCM)


def test_several_channels_become_their_mean(tmp_path: Path) -> None:
    pairs = struct.pack("<8h", 100, 300, -100, -300, 32767, 32767, -32768, -32768)
    content = written_by_the_standard_library(tmp_path / "stereo.wav", 2, 2, pairs)
    assert samples(read_wav(content, "stereo.wav")) == [200, -200, 32767, -32768]


def test_the_extensible_header_is_read_by_what_it_wraps() -> None:
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    extensible = layout(0xFFFE, 2) + struct.pack("<HHI", 22, 16, 4) + guid
    assert read_wav(riff((b"fmt ", extensible), (b"data", PCM)), "x.wav").pcm == PCM


def test_other_chunks_are_passed_over_odd_ones_too() -> None:
    content = riff(
        (b"LIST", b"INFOodd"), (b"fmt ", layout(1, 2)), (b"fact", b"\0\0\0\0"), (b"data", PCM)
    )
    assert read_wav(content, "tagged.wav").pcm == PCM


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF], ids=["nothing", "everything"])
def test_a_size_that_was_never_filled_in_means_the_rest_of_the_file(claimed: int) -> None:
    content = riff((b"fmt ", layout(1, 2)), (b"data", PCM))
    at = content.index(b"data") + 4
    piped = content[:at] + struct.pack("<I", claimed) + content[at + 4 :]
    assert read_wav(piped, "piped.wav").pcm == PCM


def test_a_torn_last_sample_is_left_out() -> None:
    content = riff((b"fmt ", layout(1, 2, channels=2)), (b"data", PCM[:15]))
    assert len(read_wav(content, "torn.wav").pcm) == 6


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a WAV file"),
        (b"OggS" + bytes(100), "not a WAV file"),
        (b"RIFF\0\0\0\0AVI " + bytes(100), "not a WAV file"),
        (riff((b"fmt ", layout(1, 2))), "no audio"),
        (riff((b"data", PCM), (b"fmt ", layout(1, 2))), "before the description"),
        (riff((b"fmt ", layout(1, 2)[:10]), (b"data", PCM)), "cut short"),
        (riff((b"fmt ", layout(1, 2)), (b"data", b"\0")), "0 samples"),
        (riff((b"fmt ", layout(1, 2, rate=0)), (b"data", PCM)), "0 samples a second"),
        (riff((b"fmt ", layout(1, 2, rate=900_000)), (b"data", PCM)), "900000 samples a second"),
        (riff((b"fmt ", layout(1, 2, channels=0)), (b"data", PCM)), "0 channels"),
        (riff((b"fmt ", layout(1, 2, channels=33)), (b"data", PCM)), "33 channels"),
        (riff((b"fmt ", layout(85, 1)), (b"data", PCM)), "format 85"),
        (riff((b"fmt ", layout(3, 2)), (b"data", PCM)), "format 3 with 16 bits"),
        (riff((b"fmt ", layout(0xFFFE, 2)), (b"data", PCM)), "format 65534"),
        (
            riff((b"fmt ", struct.pack("<HHIIHH", 1, 2, 8000, 24000, 3, 12)), (b"data", PCM)),
            "format 1 with 12 bits",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_reason(content: bytes, why: str) -> None:
    with pytest.raises(BadWav, match=f"^speech.wav cannot be used: .*{why}"):
        read_wav(content, "speech.wav")
