"""What our encoders write, read by parsers that others wrote for the platforms themselves.

They are heavy and bring a hundred packages along, so this is no part of the usual run (nor does its
name begin with `test_`): `.ci/oracles` makes an environment of its own and runs it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.frames.frames import (  # type: ignore[import-not-found]
    InputAudioRawFrame,
    InputDTMFFrame,
)
from pipecat.runner.utils import parse_telephony_websocket  # type: ignore[import-not-found]
from pipecat.serializers.exotel import ExotelFrameSerializer  # type: ignore[import-not-found]
from pipecat.serializers.plivo import PlivoFrameSerializer  # type: ignore[import-not-found]
from pipecat.serializers.telnyx import TelnyxFrameSerializer  # type: ignore[import-not-found]
from pipecat.serializers.twilio import TwilioFrameSerializer  # type: ignore[import-not-found]
from pipecat.serializers.vonage import VonageFrameSerializer  # type: ignore[import-not-found]
from plivo_stream.types import DtmfEvent, MediaEvent, StartEvent  # type: ignore[import-not-found]

from minivoice_ref.protocol.audio import to_pcm
from minivoice_ref.protocol.dialects.base import Encoder
from minivoice_ref.protocol.dialects.detect import encoder_named
from minivoice_ref.protocol.media import Started, Track, WireMessage

CALL = "call_20260529T120000.000000000"
PIECES = 5


class Said:
    """All messages of a short stream of *dialect*: five pieces of audio of the caller, and `7`."""

    def __init__(self, dialect: str) -> None:
        self.encoder: Encoder = encoder_named(dialect)
        wanted: tuple[Track, ...] = ("inbound",)
        self.stream_id = self.encoder.stream_id("0123456789abcdef0123456789abcdef")
        tracks = self.encoder.tracks_for(wanted)
        extra = {"from": "+15551230001", "to": "+15551230002"}
        format = self.encoder.formats[0]
        started = Started(
            dialect, format, tracks, self.stream_id, CALL, "cust_1", {"customer": "7"}, extra
        )
        self.opening = [*self.encoder.connected(), *self.encoder.start(started)]
        milliseconds = round(self.encoder.frame_seconds * 1000)
        size = milliseconds * format.sample_rate // 1000 * format.bytes_per_sample
        self.audio = [bytes((n * 31 + i) % 256 for i in range(size)) for n in range(PIECES)]
        self.media: list[WireMessage] = []
        for n, payload in enumerate(self.audio):
            self.media += self.encoder.media(tracks[0], payload, n * milliseconds)
        self.digit = self.encoder.digit("7", "inbound", 100)
        self.stop = self.encoder.stop()

    @property
    def pcm(self) -> list[bytes]:
        """The pieces of audio as a parser should hand them on."""
        return [to_pcm(payload, self.encoder.formats[0]) for payload in self.audio]


def without_hanging_up(serializer: Any) -> Any:
    """The parameters of *serializer* for a call that it is not to end by the platform's API."""
    return serializer.InputParams(auto_hang_up=False)


SERIALIZERS: dict[str, Callable[[Said], Any]] = {
    "twilio": lambda said: TwilioFrameSerializer(
        said.stream_id, params=without_hanging_up(TwilioFrameSerializer)
    ),
    # SignalWire documents its streams as compatible with Twilio's.
    "signalwire": lambda said: TwilioFrameSerializer(
        said.stream_id, params=without_hanging_up(TwilioFrameSerializer)
    ),
    "telnyx": lambda said: TelnyxFrameSerializer(
        said.stream_id, "PCMU", "PCMU", params=without_hanging_up(TelnyxFrameSerializer)
    ),
    "plivo": lambda said: PlivoFrameSerializer(
        said.stream_id, params=without_hanging_up(PlivoFrameSerializer)
    ),
    "exotel": lambda said: ExotelFrameSerializer(said.stream_id),
    "vonage": lambda said: VonageFrameSerializer(
        VonageFrameSerializer.InputParams(vonage_sample_rate=8000)
    ),
}


async def read(serializer: Any, messages: Sequence[WireMessage]) -> list[Any]:
    """What pipecat makes of *messages*, at 8000 samples a second."""
    await serializer.setup(SimpleNamespace(audio_in_sample_rate=8000))
    return [await serializer.deserialize(message) for message in messages]


@pytest.mark.parametrize("dialect", SERIALIZERS)
def test_pipecat_hears_the_audio_that_was_said(dialect: str) -> None:
    said = Said(dialect)
    frames = asyncio.run(read(SERIALIZERS[dialect](said), said.media))
    assert all(isinstance(frame, InputAudioRawFrame) for frame in frames)
    assert [frame.audio for frame in frames] == said.pcm
    assert {(frame.sample_rate, frame.num_channels) for frame in frames} == {(8000, 1)}


@pytest.mark.parametrize("dialect", SERIALIZERS)
def test_pipecat_hears_the_key_that_was_pressed(dialect: str) -> None:
    said = Said(dialect)
    (frame,) = asyncio.run(read(SERIALIZERS[dialect](said), said.digit))
    assert isinstance(frame, InputDTMFFrame) and frame.button.value == "7"


@pytest.mark.parametrize("dialect", SERIALIZERS)
def test_pipecat_takes_no_other_message_for_audio_or_a_key(dialect: str) -> None:
    said = Said(dialect)
    others = [*said.opening, *said.stop]
    frames = asyncio.run(read(SERIALIZERS[dialect](said), others))
    assert others and frames == [None] * len(others)


class Socket:
    """As much of a WebSocket as pipecat's detection asks for."""

    def __init__(self, messages: Sequence[WireMessage]) -> None:
        self._messages = iter(messages)

    def iter_text(self) -> Socket:
        return self

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> WireMessage:
        await asyncio.sleep(0)
        for message in self._messages:
            return message
        raise StopAsyncIteration


@pytest.mark.parametrize("dialect", ["twilio", "telnyx", "plivo", "exotel"])
def test_pipecat_tells_from_the_first_messages_whose_stream_it_is(dialect: str) -> None:
    said = Said(dialect)
    socket = Socket([*said.opening, *said.media])
    kind, told = asyncio.run(parse_telephony_websocket(socket))
    assert kind == dialect
    assert (told["stream_id"], told["call_id"]) == (said.stream_id, CALL)
    if dialect in ("telnyx", "exotel"):
        assert (told["from"], told["to"]) == ("+15551230001", "+15551230002")
    if dialect == "twilio":
        assert told["body"] == {"customer": "7"}


def test_plivos_own_models_accept_every_message() -> None:
    said = Said("plivo")
    (opening,) = map(json.loads, said.opening)
    start = StartEvent(**opening)
    assert (start.start.stream_id, start.start.call_id) == (said.stream_id, CALL)
    assert (start.start.account_id, start.start.tracks) == ("cust_1", ["inbound"])
    format = start.start.media_format
    assert (format.encoding, format.sample_rate) == ("audio/x-mulaw", 8000)
    media = [MediaEvent(**json.loads(message)) for message in said.media]
    assert [int(event.media.timestamp) for event in media] == [0, 20, 40, 60, 80]
    assert [event.media.chunk for event in media] == [1, 2, 3, 4, 5]
    (digit,) = map(json.loads, said.digit)
    pressed = DtmfEvent(**digit).dtmf
    assert (pressed.digit, pressed.track, pressed.timestamp) == ("7", "inbound", "80")
