"""G.711, L16, levels, resampling: against frozen vectors, and `audioop` where Python has it."""

import hashlib
import math
import struct
import warnings
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol import audio
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import Encoding, MediaFormat

ALL_CODES = bytes(range(256))
ALL_SAMPLES = struct.pack("<65536h", *range(-32768, 32768))
DIGESTS = (  # SHA-256 of what `audioop` of Python 3.12 makes of them
    "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827",
    "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174",
    "81d633c9e6972a18c74a58720b96cb8ca0bdd096d4060b646dd708c3b846019a",
    "38488f6fd710f4686360edc4d38639f96c491595ef93f8eb8d62d5e07ca6ce7b",
)
ENCODINGS: tuple[Encoding, ...] = ("mulaw", "alaw", "l16le", "l16be")
encodings = st.sampled_from(ENCODINGS)


def samples_of(pcm: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(pcm) // 2}h", pcm)


def tone(frequency: float, rate: int, seconds: float = 0.25, amplitude: float = 10000) -> bytes:
    count = round(rate * seconds)
    turn = 2 * math.pi * frequency / rate
    return struct.pack(f"<{count}h", *(round(amplitude * math.sin(turn * i)) for i in range(count)))


def amplitude_at(frequency: float, pcm: bytes, rate: int) -> float:
    """The amplitude of the sine of *frequency* in the middle of *pcm*, by correlation with it."""
    samples = samples_of(pcm)
    samples = samples[len(samples) // 8 : -len(samples) // 8]
    turn, size = 2 * math.pi * frequency / rate, len(samples)
    # A window keeps what a neighbouring tone leaks out of the measurement.
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * (i + 0.5) / size) for i in range(size)]
    real = sum(
        s * w * math.cos(turn * i) for i, (s, w) in enumerate(zip(samples, hann, strict=True))
    )
    imaginary = sum(
        s * w * math.sin(turn * i) for i, (s, w) in enumerate(zip(samples, hann, strict=True))
    )
    return 2 * math.hypot(real, imaginary) / sum(hann)


@pytest.fixture
def audioop() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pytest.importorskip("audioop")  # type: ignore[no-any-return]


def test_g711_is_what_audioop_makes_of_every_code_and_every_sample(audioop: ModuleType) -> None:
    assert audio.decode_mulaw(ALL_CODES) == audioop.ulaw2lin(ALL_CODES, 2)
    assert audio.decode_alaw(ALL_CODES) == audioop.alaw2lin(ALL_CODES, 2)
    assert audio.encode_mulaw(ALL_SAMPLES) == audioop.lin2ulaw(ALL_SAMPLES, 2)
    assert audio.encode_alaw(ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES, 2)


@pytest.mark.parametrize(
    ("made", "digest"),
    [
        pytest.param(made, digest, id=name)
        for name, made, digest in (
            ("mulaw decoded", audio.decode_mulaw(ALL_CODES), DIGESTS[0]),
            ("alaw decoded", audio.decode_alaw(ALL_CODES), DIGESTS[1]),
            ("mulaw encoded", audio.encode_mulaw(ALL_SAMPLES), DIGESTS[2]),
            ("alaw encoded", audio.encode_alaw(ALL_SAMPLES), DIGESTS[3]),
        )
    ],
)
def test_g711_of_every_code_and_sample_is_what_audioop_made_of_it(made: bytes, digest: str) -> None:
    assert hashlib.sha256(made).hexdigest() == digest


@pytest.mark.parametrize(
    ("code", "sample"), [(0xFF, 0), (0x7F, 0), (0x00, -32124), (0x80, 32124), (0xF0, 120)]
)
def test_mulaw_codes_mean_what_the_recommendation_says(code: int, sample: int) -> None:
    assert samples_of(audio.decode_mulaw(bytes([code]))) == (sample,)


@pytest.mark.parametrize(
    ("code", "sample"), [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0x80, 5504)]
)
def test_alaw_codes_mean_what_the_recommendation_says(code: int, sample: int) -> None:
    assert samples_of(audio.decode_alaw(bytes([code]))) == (sample,)


@given(pcm=st.binary(max_size=400), encoding=encodings)
def test_coding_what_was_decoded_changes_nothing_more(pcm: bytes, encoding: Encoding) -> None:
    format = MediaFormat(encoding)
    once = audio.to_pcm(audio.from_pcm(pcm, format), format)
    assert len(once) == len(pcm) & ~1
    assert audio.to_pcm(audio.from_pcm(once, format), format) == once


@given(payload=st.binary(max_size=401), encoding=encodings)
def test_any_payload_has_as_many_samples_of_pcm_as_its_format_counts(
    payload: bytes, encoding: Encoding
) -> None:
    format = MediaFormat(encoding)
    assert len(audio.to_pcm(payload, format)) == 2 * format.samples(len(payload))


def test_l16_big_endian_is_swapped_and_little_endian_handed_on_as_it_is() -> None:
    assert audio.to_pcm(b"\x01\x02\x03\x04\x05", MediaFormat("l16be")) == b"\x02\x01\x04\x03"
    assert audio.from_pcm(b"\x01\x02\x03\x04", MediaFormat("l16be")) == b"\x02\x01\x04\x03"
    payload = b"\x01\x02\x03\x04"
    assert audio.to_pcm(payload, MediaFormat("l16le")) is payload


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("mulaw", b"\xff" * 3), ("alaw", b"\xd5" * 3), ("l16le", bytes(6)), ("l16be", bytes(6))],
)
def test_silence_is_that_of_the_encoding(encoding: Encoding, expected: bytes) -> None:
    assert audio.silence(MediaFormat(encoding), 3) == expected
    pcm = audio.to_pcm(audio.silence(MediaFormat(encoding), 160), MediaFormat(encoding))
    assert audio.level(pcm).peak_dbfs <= -72  # A-law has no zero: its silence is the sample 8


def test_silence_of_two_channels_is_twice_as_long() -> None:
    assert audio.silence(MediaFormat("l16le", 8000, 2), 160) == bytes(640)


@pytest.mark.parametrize("convert", [audio.to_pcm, audio.from_pcm])
def test_audio_of_two_channels_must_be_split_first(convert: object) -> None:
    assert callable(convert)
    with pytest.raises(LocalProtocolError, match="mulaw/8000/2"):
        convert(b"\xff\xff", MediaFormat("mulaw", 8000, 2))


@given(
    encoding=encodings,
    channels=st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=3),
)
def test_channels_come_apart_as_they_were_interleaved(
    encoding: Encoding, channels: list[bytes]
) -> None:
    format = MediaFormat(encoding, 8000, len(channels))
    size = MediaFormat(encoding).bytes_per_sample
    interleaved = b"".join(
        channel[at : at + size] for at in range(0, 8, size) for channel in channels
    )
    assert audio.split_channels(interleaved, format) == channels


def test_a_torn_last_sample_of_several_channels_is_left_out() -> None:
    assert audio.split_channels(b"abcdefg", MediaFormat("l16le", 8000, 2)) == [b"ab", b"cd"]


def test_mixing_down_takes_the_mean_of_the_channels_and_keeps_one_as_it_is() -> None:
    stereo = struct.pack("<6h", 100, 300, -32768, -32768, 7, 8)
    assert samples_of(audio.mix_down(stereo + b"\x01\x02", 2)) == (200, -32768, 7)
    assert audio.mix_down(stereo, 1) == stereo
    assert audio.mix_down(b"", 2) == b""


def test_the_level_of_a_full_sine_is_three_decibels_below_its_peak() -> None:
    level = audio.level(tone(1000, 8000, amplitude=32767))
    assert level.rms_dbfs == pytest.approx(-3.01, abs=0.01)
    assert level.peak_dbfs == pytest.approx(0, abs=0.01)


def test_the_lowest_sample_is_as_loud_as_can_be() -> None:
    assert audio.level(struct.pack("<h", -32768)) == audio.Level(0.0, 0.0)


@pytest.mark.parametrize("pcm", [b"", b"\x01", bytes(320)])
def test_silence_and_no_audio_at_all_are_at_the_floor(pcm: bytes) -> None:
    assert audio.level(pcm) == audio.Level(-100.0, -100.0)


def test_one_faint_click_in_a_long_silence_is_not_below_the_floor() -> None:
    assert audio.level(struct.pack("<h", 1) + bytes(200000)).rms_dbfs == -100.0


RATES = [(16000, 8000), (44100, 8000), (11025, 8000), (8000, 16000), (8000, 24000), (22050, 16000)]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("frequency", [300, 1000, 3000, 3350])
def test_a_tone_keeps_its_frequency_and_level_at_another_sample_rate(
    from_rate: int, to_rate: int, frequency: int
) -> None:
    made = audio.resample(tone(frequency, from_rate), from_rate, to_rate)
    gain = 20 * math.log10(amplitude_at(frequency, made, to_rate) / 10000)
    assert gain == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("from_rate", "to_rate", "frequency", "image"),
    [
        (16000, 8000, 5000, 3000),
        (16000, 8000, 4300, 3700),
        (44100, 8000, 7000, 1000),
        (48000, 8000, 9000, 1000),
        (8000, 16000, 3000, 5000),
        (8000, 24000, 3000, 5000),
        (8000, 24000, 1000, 7000),
        (8000, 24000, 1000, 9000),
        (8000, 16000, 3400, 4600),
        (16000, 8000, 4600, 3400),
    ],
)
def test_images_and_aliases_of_a_tone_are_suppressed_by_more_than_60_decibels(
    from_rate: int, to_rate: int, frequency: int, image: int
) -> None:
    made = audio.resample(tone(frequency, from_rate), from_rate, to_rate)
    assert amplitude_at(image, made, to_rate) < 10000 * 10 ** (-60 / 20)


@given(
    pcm=st.binary(max_size=100),
    from_rate=st.integers(1, 100),
    to_rate=st.integers(1, 100),
)
def test_resampled_audio_is_as_long_as_before_in_seconds(
    pcm: bytes, from_rate: int, to_rate: int
) -> None:
    made = audio.resample(pcm, from_rate, to_rate)
    assert len(made) // 2 == math.ceil(len(pcm) // 2 * to_rate / from_rate)


def test_resampling_keeps_a_constant_and_clips_what_overshoots() -> None:
    constant = struct.pack("<400h", *([1234] * 400))
    assert set(samples_of(audio.resample(constant, 8000, 16000))[100:-100]) == {1234}
    edge = struct.pack("<400h", *([-32768] * 200 + [32767] * 200))
    made = samples_of(audio.resample(edge, 8000, 16000))
    assert (min(made), max(made)) == (-32768, 32767)


def test_audio_at_the_right_rate_already_stays_as_it_is_without_its_torn_end() -> None:
    assert audio.resample(b"\x01\x02\x03", 8000, 8000) == b"\x01\x02"


@pytest.mark.parametrize("rates", [(0, 8000), (8000, 0), (-1, 8000)])
def test_a_sample_rate_below_one_is_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(LocalProtocolError, match="samples a second"):
        audio.resample(b"", *rates)


def test_of_an_unknown_encoding_there_is_nothing_to_hear() -> None:
    unknown = MediaFormat("unknown", 48000)
    for attempt in (audio.to_pcm, audio.from_pcm):
        with pytest.raises(LocalProtocolError, match="samples of an unknown encoding"):
            attempt(b"\1\2", unknown)
    with pytest.raises(LocalProtocolError, match="unknown/48000/1"):
        audio.silence(unknown, 1)
