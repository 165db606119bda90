"""A stream of every dialect in every format that its platform is known to send, from the simulator
to our receiver: each sample is where it belongs.

Both are the real ones, over memory streams and in virtual time; the disk's work is done inline.
"""

from __future__ import annotations

import json
import wave
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from minivoice_ref import App, Config, serve
from minivoice_ref.net.front_door import Admission
from minivoice_ref.net.media_socket import MediaSocket
from minivoice_ref.protocol.audio import decode_mulaw, from_pcm, level, mix_down, resample, to_pcm
from minivoice_ref.protocol.dialects.binary_family import interleave
from minivoice_ref.protocol.dialects import twilio
from minivoice_ref.protocol.dialects.detect import encoder_named, encoders
from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.routes import ReceiverSite
from minivoice_ref.receiver.server import Server
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.conformance import ConformancePlan, run_conformance
from minivoice_ref.simulator.faults import parse_fault
from minivoice_ref.simulator.report import CallReport, StreamReport
from minivoice_ref.simulator.scenarios import SCENARIOS, SHORTEST
from minivoice_ref.simulator.speech import CallTrack, Voice, packaged_voice
from minivoice_ref.testing import MemoryNetwork

Clock = trio.testing.MockClock
Line = dict[str, Any]

HOST = "receiver.test"
FORMS = [
    *((name, format, False) for name, one in encoders().items() for format in one.formats),
    *((name, one.formats[0], True) for name, one in encoders().items()),
]
SECONDS = 0.63  # no whole number of 100 ms
TICKS = (31, 32)  # at the end it is chance, or a fault, whether the last one was due

#: Half a second of each party, all of it speech; shorter than the call, so that it wraps.
VOICES: dict[CallTrack, Voice] = {
    "inbound": packaged_voice("caller").without_pauses(25),
    "outbound": packaged_voice("agent").without_pauses(25),
}


class Outcome:
    """What one call with one stream left behind."""

    def __init__(self, report: CallReport, data: Path) -> None:
        assert report.passed, str(report)
        (self.stream,) = report.streams
        lines = (data / "streams.jsonl").read_text().splitlines()
        self._lines: list[Line] = [json.loads(line) for line in lines]
        (path,) = (data / "recordings").glob("*.wav")
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
            self.rate = file.getframerate()
            samples = memoryview(file.readframes(file.getnframes())).cast("h")
        self.recorded = {"inbound": samples[0::2].tobytes(), "outbound": samples[1::2].tobytes()}

    def line(self, what: str) -> Line:
        """The only line of one kind in the streams' log."""
        (line,) = [line for line in self._lines if line["what"] == what]
        return line


@asynccontextmanager
async def receiver(
    data: Path, app: App | None = None, **settings: Any
) -> AsyncGenerator[tuple[Server, MemoryNetwork]]:
    """Our receiver, recording into *data*."""
    network = MemoryNetwork()
    config = Config(
        listen=f"{HOST}:443", plain=True, insecure=True, record=True, data=data, **settings
    )

    async with trio.open_nursery() as nursery:
        run = partial(serve, listen=network.listen, disk=InlineDisk)
        server: Server = await nursery.start(run, app or App(), config)
        yield server, network
        server.stop()


async def call(
    data: Path,
    dialect: str,
    *faults: str,
    forced: bool = False,
    track: str = "both",
    format: MediaFormat | None = None,
    app: App | None = None,
) -> CallReport:
    """One call with one stream of *dialect* at a receiver that knows it, if *forced*.

    The receiver is told of *format* what no dialect says: the byte order, and all of it of bare
    audio.
    """
    settings = {
        "track": track,
        "dialect": dialect.removesuffix("-text") if forced else "auto",
        "fallback_format": str(format or MediaFormat("l16le")),
        "l16": format.encoding if format and format.encoding.startswith("l16") else "auto",
    }
    async with receiver(data, app, **settings) as (server, network):
        plan = CallPlan(
            answer_url=server.urls.answer,
            speak=SECONDS,
            caller=VOICES["inbound"],
            agent=VOICES["outbound"],
            dialect=dialect,
            media_format=format,
            keep_audio=True,
            seed=3,
            faults=tuple(map(parse_fault, faults)),
        )
        return await place_call(plan, connect=network.connect)


async def recorded_call(data: Path, dialect: str, *faults: str, **how: Any) -> Outcome:
    """What `call` leaves behind where it is recorded."""
    return Outcome(await call(data, dialect, *faults, **how), data)


@cache
def spoken(track: CallTrack, rate: int, samples: int) -> bytes:
    """What a party says in the call at *rate*: the whole speech resampled, then cut."""
    voice = VOICES[track]
    speech = decode_mulaw(b"".join(voice.frames))
    # As a circle: what is behind its end, and before its beginning, is its other end.
    around = resample(speech * 4, 8000, rate)
    size = len(speech) * rate // 8000
    return around[size : size + 2 * samples]


def expected(stream: StreamReport, carried: tuple[CallTrack, ...]) -> dict[str, bytes]:
    """What must be sent of each of the stream's tracks, as PCM."""
    rate, samples = stream.format.sample_rate, next(iter(stream.sent.values())).samples
    assert samples in [ticks * rate // 50 for ticks in TICKS]
    sounds = {track: spoken(track, rate, samples) for track in carried}
    if set(stream.sent) == {"mixed"}:
        both = [*sounds.values()]
        mixed = both[0] if len(both) == 1 else mix_down(interleave(both, 2), 2)
        return {"mixed": coded(mixed, stream.format)}
    return {track: coded(sound, stream.format) for track, sound in sounds.items()}


def coded(pcm: bytes, format: MediaFormat) -> bytes:
    """PCM after its way through *format*."""
    return to_pcm(from_pcm(pcm, format), format)


def assert_sample_exact(outcome: Outcome, track: str = "both") -> None:
    """What the parties said is what was sent, received, accounted for and recorded."""
    stream = outcome.stream
    carried: tuple[CallTrack, ...] = ("inbound", "outbound")
    if track != "both":
        carried = (track,)  # type: ignore[assignment]
    said = expected(stream, carried)
    assert {name: to_pcm(audio, stream.format) for name, audio in stream.audio.items()} == said
    assert all(level(sound).rms_dbfs > -40 for sound in said.values()), "nobody speaks"
    assert outcome.rate == stream.format.sample_rate
    for side, recorded in outcome.recorded.items():
        heard = said.get(side, said.get("mixed", bytes(len(recorded))))
        assert recorded == heard and len(recorded) > 0
    sums = outcome.line("account")["tracks"]
    assert set(sums) == set(stream.sent) == set(said)
    for name, of_track in sums.items():
        samples = len(said[name]) // 2
        assert of_track["received"] == of_track["expected"] == stream.sent[name].samples == samples
        assert of_track["lost"] == 0


@pytest.mark.parametrize(("dialect", "format", "forced"), FORMS, ids=str)
async def test_a_stream_of_each_dialect_and_format_ends_as_a_sample_exact_recording(
    dialect: str, format: MediaFormat, forced: bool, autojump_clock: Clock, tmp_path: Path
) -> None:
    outcome = await recorded_call(tmp_path, dialect, forced=forced, format=format)
    assert_sample_exact(outcome)
    started, account = outcome.line("started"), outcome.line("account")
    # `minivoice` stands for all and is spoken as Twilio's; the raw one is never named.
    names = {"minivoice": ("minivoice", "twilio")}.get(dialect, (dialect.removesuffix("-text"),))
    assert started["dialect"] in names
    assert started["format"] == str(format) == str(outcome.stream.format)
    assert bool(started.get("assumed")) == (dialect == "raw")
    assert set(started["tracks"]) == set(outcome.stream.sent)
    assert account["unknown"] == account["gaps"] == 0
    stops = encoder_named(dialect).has_stop
    assert outcome.line("disconnected")["how"] == ("stopped" if stops else "closed")


@pytest.mark.parametrize("track", ["inbound", "outbound"])
@pytest.mark.parametrize("dialect", encoders())
async def test_one_party_alone_is_sent_as_it_is_whatever_the_track_is_called(
    dialect: str, track: str, autojump_clock: Clock, tmp_path: Path
) -> None:
    outcome = await recorded_call(tmp_path, dialect, track=track)
    assert len(outcome.stream.sent) == 1
    assert_sample_exact(outcome, track)


async def test_audio_that_fills_no_message_at_the_end_is_sent_with_the_stop(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    outcome = await recorded_call(tmp_path, "exotel")
    # Six of 100 ms, and a tick or two that are left.
    assert outcome.stream.sent["mixed"].frames == 7
    assert outcome.line("account")["tracks"]["mixed"]["frames"] == 7


async def test_a_subprotocol_that_the_platform_wants_is_proposed_and_selected(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected: list[str | None] = []
    handle = ReceiverSite.handle_stream

    async def look(site: ReceiverSite, socket: MediaSocket, admission: Admission) -> None:
        selected.append(socket.subprotocol)
        await handle(site, socket, admission)

    monkeypatch.setattr(ReceiverSite, "handle_stream", look)
    await recorded_call(tmp_path, "jambonz")
    assert selected == ["audio.jambonz.org"]


@pytest.mark.parametrize(
    ("dialect", "faults"),
    [
        ("exotel", ("repeat=50", "unknown=50", "jitter=40", "fragments=7")),
        ("wavix", ("reorder=30", "no-stop", "ping-flood=5")),
        ("telnyx", ("reorder=50", "repeat=30")),
        ("jambonz", ("no-stop", "jitter=50", "fragments=9")),
        ("vonage", ("stall=0.2", "no-stop")),
        *[
            (dialect, ("media-before-start=7",))
            for dialect in ("asterisk", "asterisk-text", "jambonz", "vonage", "telnyx", "wavix")
        ],
    ],
)
async def test_faults_that_cost_nothing_cost_nothing_in_other_dialects_either(
    dialect: str, faults: tuple[str, ...], autojump_clock: Clock, tmp_path: Path
) -> None:
    outcome = await recorded_call(tmp_path, dialect, *faults)
    assert_sample_exact(outcome)


async def test_of_two_tracks_side_by_side_a_lost_frame_is_silence_in_its_place(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    outcome = await recorded_call(tmp_path, "freeswitch", "lose=30")
    account = outcome.line("account")["tracks"]
    for name, sums in outcome.stream.sent.items():
        assert sums.samples < account[name]["received"] <= TICKS[-1] * 160


async def test_audio_in_a_codec_that_nobody_knows_reaches_the_application_and_no_recording(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio, "_ENCODING_NAMES", {"mulaw": "audio/opus"})
    heard: dict[str, bytes] = {"inbound": b"", "outbound": b""}

    async def listen(stream: MediaStream) -> None:
        async for frame in stream:
            assert (str(frame.format), frame.samples, frame.pcm) == ("unknown/8000/1", 0, b"")
            heard[frame.track] += frame.payload

    report = await call(tmp_path, "twilio", app=App(on_stream=listen))
    assert report.passed, str(report)
    assert heard == report.streams[0].audio
    assert [path.stat().st_size for path in tmp_path.glob("recordings/*.wav")] in ([], [44])
    lines = [json.loads(line) for line in (tmp_path / "streams.jsonl").read_text().splitlines()]
    (why,) = [line["why"] for line in lines if line["what"] == "unknown"]
    assert "encoding 'audio/opus' is not known" in why and "not recorded" in why


@pytest.mark.parametrize(
    ("dialect", "unseen"),
    [
        ("vonage", {"lose", "repeat", "reorder"}),
        ("jambonz", {"lose", "repeat", "reorder"}),
        ("bandwidth", {"lose"}),
        ("wavix", set()),
    ],
)
async def test_a_fault_of_which_no_receiver_can_know_in_a_dialect_is_said_to_be_one(
    dialect: str, unseen: set[str], autojump_clock: Clock, tmp_path: Path
) -> None:
    report = await call(tmp_path, dialect, "lose=20", "repeat=20", "reorder=20", "no-stop")
    told = {finding.fault.partition("=")[0]: finding for finding in report.findings}
    assert set(told) == unseen and all(finding.ok for finding in told.values())
    assert all("timestamps" in finding.seen for finding in told.values())


async def test_conformance_leaves_out_what_no_receiver_can_do_in_a_dialect(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    async with receiver(tmp_path) as (server, network):
        plan = ConformancePlan(
            call=CallPlan(
                answer_url=server.urls.answer,
                speak=SHORTEST,
                dialect="asterisk",
                media_format=MediaFormat("l16le", 16000),
            ),
            scenarios=[SCENARIOS[name] for name in ("good-call", "lose", "reorder", "jitter")],
        )
        report = await run_conformance(plan, connect=network.connect)
    seen = {result.scenario.name: (result.outcome, result.seen) for result in report.results}
    assert [outcome for outcome, _ in seen.values()] == ["pass", "skip", "skip", "pass"]
    assert seen["lose"][1] == (
        "not applicable: without timestamps no receiver can know that audio is missing"
    )
