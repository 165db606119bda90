"""How loud 20 ms are, and what is computed of a stream while somebody looks."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.console.peaks import LOUDEST, peak_of
from minivoice_ref.console.watched import Attention, WatchedStream
from minivoice_ref.protocol.audio import from_pcm
from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.receiver.media_stream import Frame

MULAW = MediaFormat("mulaw", 8000, 1)
L16 = MediaFormat("l16le", 16000, 1)


def pcm(*samples: int) -> bytes:
    return array.array("h", samples).tobytes()


@pytest.mark.parametrize("encoding", ["mulaw", "alaw", "l16le", "l16be"])
def test_the_peak_is_the_square_root_of_the_loudest_sample(encoding: Any) -> None:
    format = MediaFormat(encoding, 8000, 1)
    assert peak_of(from_pcm(pcm(0, 8192, -100), format), format) == pytest.approx(128, abs=3)
    assert peak_of(from_pcm(pcm(0, -32768, 5), format), format) >= LOUDEST - 3
    assert peak_of(from_pcm(pcm(0, 0), format), format) <= 4  # A-law has no zero
    assert peak_of(b"", format) == 0


def test_what_nobody_can_read_is_silent() -> None:
    assert peak_of(b"\x01\x02", MediaFormat("unknown", 8000, 1)) == 0


class Stream:
    """A live stream of a test: frames are given to whoever taps it."""

    id = "stream_1"

    def __init__(self) -> None:
        self.take: Callable[[Frame], None] | None = None

    def tap(self, take: Callable[[Frame], None] | None) -> None:
        self.take = take

    def is_tapped(self) -> bool:
        return self.take is not None

    def state(self) -> dict[str, Any]:
        return {"messages": 1}

    def say(
        self, position: int, samples: int, value: int = 8192, format: MediaFormat = L16
    ) -> None:
        assert self.take is not None
        payload = from_pcm(pcm(*[value] * samples), format)
        self.take(Frame("inbound", position, payload, format))


def watched(attention: Attention) -> tuple[Stream, WatchedStream]:
    stream = Stream()
    watching = WatchedStream(stream)  # type: ignore[arg-type]  # as much of one as it uses
    watching.watch(attention)
    return stream, watching


def test_a_glance_remembers_the_latest_frame_and_computes_nothing_else() -> None:
    stream, watching = watched(Attention.GLANCE)
    stream.say(0, 320)
    stream.say(320, 320, value=0)
    assert watching.take_peaks() == {} and watching.take_audio() == b""
    assert watching.levels() == {"inbound": 0}
    assert watching.levels() == {}


async def test_frames_of_any_length_become_bins_of_20_ms() -> None:
    await trio.lowlevel.checkpoint()  # the arrivals are told by Trio's clock
    stream, watching = watched(Attention.LOOK)
    stream.say(160, 480)  # from the middle of bin 0 to the end of bin 1
    stream.say(1280, 100)  # bin 4, begun
    stream.say(1380, 120, value=32767)  # louder
    stream.say(1500, 100, value=1)  # and ended, in silence
    assert watching.take_peaks() == {"inbound": [[0, 128, 128], [4, 255]]}
    assert watching.take_peaks() == {}


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 1000)), max_size=30))
def test_every_piece_of_audio_has_its_bins(pieces: list[tuple[int, int]]) -> None:
    async def check() -> None:
        stream, watching = watched(Attention.LOOK)
        expected = set()
        for position, samples in pieces:
            stream.say(position, samples)
            expected |= set(range(position // 320, (position + samples - 1) // 320 + 1))
        found: list[int] = []
        for first, *peaks in watching.take_peaks().get("inbound", []):
            found += range(first, first + len(peaks))
        assert found == sorted(expected)
        await trio.lowlevel.checkpoint()

    trio.run(check)


async def test_jitter_grows_with_uneven_arrivals(autojump_clock: trio.testing.MockClock) -> None:
    stream, watching = watched(Attention.LOOK)
    for number in range(100):
        stream.say(number * 320, 320)
        await trio.sleep(0.005 if number % 2 else 0.035)
    assert watching.state()["coming"]["inbound"]["jitter_ms"] == pytest.approx(15, abs=3)


async def test_what_waits_to_be_taken_is_bounded() -> None:
    await trio.lowlevel.checkpoint()  # the arrivals are told by Trio's clock
    stream, watching = watched(Attention.EAR)
    for number in range(5000):
        stream.say(number * 160, 160, format=MULAW)
    ((first, *peaks),) = watching.take_peaks()["inbound"]
    assert len(peaks) == 3000 and first == 2000
    assert len(watching.take_audio()) == 128 * (16 + 320)


async def test_a_stream_whose_format_changes_is_looked_at_anew() -> None:
    await trio.lowlevel.checkpoint()  # the arrivals are told by Trio's clock
    stream, watching = watched(Attention.LOOK)
    stream.say(0, 320)
    stream.say(0, 160, format=MULAW)
    assert watching.state()["coming"]["inbound"]["sample_rate"] == 8000


def test_who_looks_away_leaves_nothing_behind() -> None:
    stream, watching = watched(Attention.EAR)
    assert stream.is_tapped()
    watching.watch(Attention.NONE)
    assert not stream.is_tapped()
    assert watching.take_audio() == b""
