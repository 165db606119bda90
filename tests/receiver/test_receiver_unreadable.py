"""Audio that cannot be read, or has no place in the recording: counted, told, never made up."""

from __future__ import annotations

import base64
import json
import wave
from pathlib import Path
from typing import Any

import trio
from receiver_lab import FRAME, Lab, open_lab, patient, settings, sound

from minivoice_ref.config import Limits
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.evidence import gather, read_lines
from minivoice_ref.receiver.explain import explain
from minivoice_ref.receiver.media_stream import Frame, MediaStream

OPUS = b"\x78OggS-and-so-on"
STOP = '{"event":"stop","sequenceNumber":"9","streamSid":"MZ1","stop":{"callSid":"call_1"}}'


def start(encoding: str) -> str:
    """A start in Twilio's shape with a codec of any name."""
    form = {"encoding": encoding, "sampleRate": 8000, "channels": 1}
    told = {"streamSid": "MZ1", "callSid": "call_1", "accountSid": "AC1", "mediaFormat": form}
    told["tracks"] = ["inbound", "outbound"]
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": told})


def media(number: int, payload: bytes, track: str = "inbound") -> str:
    """A piece of audio in Twilio's shape."""
    text = base64.b64encode(payload).decode()
    told = {"track": track, "chunk": "1", "timestamp": str(20 * number), "payload": text}
    return json.dumps({"event": "media", "sequenceNumber": "2", "streamSid": "MZ1", "media": told})


def beside(account: dict[str, Any]) -> dict[str, Any]:
    """What the JSON file of the account's recording says."""
    document = json.loads(Path(account["recording"]).with_suffix(".json").read_text())
    assert isinstance(document, dict)
    return document


def frames_of(path: str) -> int:
    """The samples of a WAV."""
    with wave.open(path) as file:
        return int(file.getnframes())


async def explained(lab: Lab) -> Any:
    """What `explain` makes of the logs so far."""
    texts = []
    for log in ("answers", "streams", "webhooks"):
        texts += [json.dumps(line) for line in await lab.lines(log)]
    return explain(gather(read_lines(texts)[0]))


async def test_audio_of_an_unknown_codec_is_handed_on_as_it_came_and_never_recorded_as_sound(
    tmp_path: Path, autojump_clock: object
) -> None:
    frames: list[Frame] = []

    async def on_stream(stream: MediaStream) -> None:
        async for frame in stream:
            frames.append(frame)

    config = settings(tmp_path, record=True, timeouts=patient())
    async with open_lab(App(on_stream=on_stream), config) as lab:
        async with lab.stream() as caller:
            await caller.socket.send(start("audio/opus"))
            for number in range(3):
                await caller.socket.send(media(number, OPUS))
            await caller.socket.send(STOP)
            assert await caller.close_code() == 1000
        (account,) = await lab.lines("streams", "account")
        (first,) = await lab.lines("streams", "first_media")
        explanation = await explained(lab)
    assert [frame.payload for frame in frames] == [OPUS] * 3
    assert {(frame.samples, frame.pcm, frame.format.readable) for frame in frames} == {
        (0, b"", False)
    }
    assert account["bytes_unread"] == {"inbound": 3 * len(OPUS)}
    inbound = account["tracks"]["inbound"]
    assert (inbound["frames"], inbound["received"], inbound["expected"]) == (3, 0, 0)
    assert frames_of(account["recording"]) == 0
    assert (beside(account)["samples"], beside(account)["not_recorded"]) == (0, 0)
    assert first["code"] == "MV-410" and "MV-410" in explanation.codes
    assert explanation.steps[3].ok is False


async def test_a_listener_that_lags_behind_audio_of_an_unknown_codec_costs_no_memory(
    tmp_path: Path, autojump_clock: object
) -> None:
    frames: list[Frame] = []
    wake_up = trio.Event()

    async def on_stream(stream: MediaStream) -> None:
        await wake_up.wait()
        async for frame in stream:
            frames.append(frame)

    config = settings(tmp_path, timeouts=patient())
    async with open_lab(App(on_stream=on_stream), config) as lab:
        async with lab.stream() as caller:
            await caller.socket.send(start("audio/opus"))
            for number in range(500):
                await caller.socket.send(media(number, OPUS + number.to_bytes(2, "big")))
            await caller.socket.send(STOP)
            assert await caller.close_code() == 1000
            wake_up.set()
    assert [int.from_bytes(frame.payload[-2:], "big") for frame in frames] == [*range(436, 500)]


async def test_the_rest_of_a_torn_sample_is_counted_and_shifts_nothing(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, record=True, timeouts=patient())
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.socket.send(start("audio/x-L16"))
            await caller.socket.send(media(0, b"\x01\x02" * FRAME + b"\x7f"))
            await caller.socket.send(media(1, b"\x03\x04" * FRAME))
            await caller.socket.send(STOP)
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
    assert account["bytes_unread"] == {"inbound": 1}
    with wave.open(account["recording"]) as file:
        pieces = file.readframes(2 * FRAME)
    assert pieces == b"\x01\x02\0\0" * FRAME + b"\x03\x04\0\0" * FRAME


async def test_a_track_with_another_sample_rate_is_not_in_the_recording_and_the_log_says_so(
    tmp_path: Path, autojump_clock: object
) -> None:
    tracks = [
        {"name": name, "mediaFormat": {"encoding": "audio/PCMU", "sampleRate": rate}}
        for name, rate in (("inbound", 8000), ("outbound", 16000))
    ]
    told = {"accountId": "a", "callId": "call_1", "streamId": "s", "tracks": tracks}
    config = settings(tmp_path, record=True, timeouts=patient(), limits=Limits())
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.socket.send(json.dumps({"eventType": "start", "metadata": told}))
            for track, samples in (("inbound", 160), ("outbound", 320)):
                payload = base64.b64encode(sound(0, samples)).decode()
                piece = {"eventType": "media", "track": track, "payload": payload}
                await caller.socket.send(json.dumps(piece | {"sequenceNumber": 1}))
            await caller.socket.send(json.dumps({"eventType": "stop", "metadata": {}}))
            await caller.close_code()
        (account,) = await lab.lines("streams", "account")
        (lacks,) = await lab.lines("streams", "recording_lacks")
        explanation = await explained(lab)
    assert (lacks["code"], lacks["samples"]) == ("MV-707", 320)
    assert beside(account)["not_recorded"] == 320 and frames_of(account["recording"]) == 160
    assert account["tracks"]["outbound"]["received"] == 320
    assert "MV-707" in explanation.codes and explanation.steps[6].ok is True
