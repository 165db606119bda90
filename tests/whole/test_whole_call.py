"""A call all the way, over real sockets and real TLS: what was sent is what was received."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest
import trio

from minivoice_ref import Answer, App, Config, MediaStream, Server, serve, start_stream
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.protocol.audio import decode_mulaw
from minivoice_ref.receiver.app import AnswerRequest
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.report import CallReport

SECRET = "the-secret-of-this-test"
TOKEN_KEY = "the-token-key-of-this-test"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def settings(certificates: Certificates, data: Path, **more: object) -> Config:
    return Config.load(
        listen="127.0.0.1:0",
        tls_cert=certificates.cert,
        tls_key=certificates.key,
        webhook_secret=SECRET,
        token_key=TOKEN_KEY,
        record=True,
        data=data,
        **more,  # type: ignore[arg-type]
    )


async def call(
    app: App, config: Config, certificates: Certificates, *, expect_break: bool = False
) -> CallReport:
    """Place one call at our own receiver, and drain it."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve, app, config)
            plan = CallPlan(
                answer_url=server.urls.answer,
                webhook_url=server.urls.webhooks,
                webhook_secret=SECRET,
                speak=1.0,
                keep_audio=True,
                expect_break=expect_break,
            )
            connect = TcpConnector(client_context(certificates.ca), config.timeouts)
            report = await place_call(plan, connect=connect)
            server.stop()
    return report


def lines(data: Path, log: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (data / f"{log}.jsonl").read_text().splitlines()]


def channels(path: Path) -> tuple[bytes, bytes]:
    """The left and the right channel of a stereo file of 16-bit samples at 8 kHz."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
        return samples[0::2].tobytes(), samples[1::2].tobytes()


@pytest.mark.parametrize("track", ["both", "inbound", "outbound"])
@pytest.mark.documents("three-tracks")
async def test_the_recording_holds_sample_for_sample_what_was_sent(
    track: str, certificates: Certificates, tmp_path: Path
) -> None:
    report = await call(App(), settings(certificates, tmp_path, track=track), certificates)
    assert report.passed, str(report)
    (stream,) = report.streams
    (recording,) = (tmp_path / "recordings").glob("*.wav")
    left, right = channels(recording)
    for name, channel in (("inbound", left), ("outbound", right)):
        if name in stream.audio:
            assert len(stream.audio[name]) == stream.sent[name].samples > 0
            assert channel == decode_mulaw(stream.audio[name])
        else:
            assert not any(channel)
    (account,) = [line for line in lines(tmp_path, "streams") if line["what"] == "account"]
    received = account["tracks"]
    assert isinstance(received, dict)
    assert {name: (sums["frames"], sums["received"]) for name, sums in received.items()} == {
        name: (sums.frames, sums.samples) for name, sums in stream.sent.items()
    }


@pytest.mark.documents("three-logs", "answers-logged")
async def test_a_broken_stream_leaves_three_logs_with_three_different_stories(
    certificates: Certificates, tmp_path: Path
) -> None:
    async def break_it(stream: MediaStream) -> None:
        async for _ in stream:
            stream.abort()

    config = settings(certificates, tmp_path)
    report = await call(App(on_stream=break_it), config, certificates, expect_break=True)
    assert report.passed, str(report)
    assert report.streams[0].close_code == 1006
    # Was the action valid? Yes.
    assert [line["what"] for line in lines(tmp_path, "answers")] == ["answered"]
    # Did media arrive? Some, then the socket broke.
    whats = [line["what"] for line in lines(tmp_path, "streams")]
    assert "first_media" in whats and whats.index("disconnected") > whats.index("first_media")
    (end,) = [line for line in lines(tmp_path, "streams") if line["what"] == "disconnected"]
    assert (end["how"], end["close_code"]) == ("aborted", 1006)
    # What was the call's final result? It completed, whatever became of the stream.
    accepted = [line["event"] for line in lines(tmp_path, "webhooks") if line["what"] == "accepted"]
    assert sorted(map(str, accepted)) == ["call.answered", "call.completed", "call.created"]


async def test_no_secret_of_the_run_is_in_any_file_it_leaves(
    certificates: Certificates, tmp_path: Path
) -> None:
    tokens: list[str] = []

    async def remember(request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        url = request.stream_url()
        tokens.append(url.rpartition("/stream/")[2])
        return Answer(start_stream(url, track="both"))

    config = settings(certificates, tmp_path)
    report = await call(App(on_answer=remember), config, certificates)
    assert report.passed, str(report)
    (token,) = tokens
    assert len(token) > 43 and token not in str(report) + json.dumps(report.to_json())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".jsonl", ".json", ".wav", ".sqlite3"} <= {path.suffix for path in files}
    for path in files:
        content = path.read_bytes()
        for secret in (SECRET, TOKEN_KEY, token, token[:12]):
            assert secret.encode() not in content, path
    for log in ("answers", "streams", "webhooks"):
        text = (tmp_path / f"{log}.jsonl").read_text()
        assert "v1=" not in text
    assert SECRET not in json.dumps(report.to_json())


async def test_the_call_ends_well_though_on_event_fails_at_first(
    certificates: Certificates, tmp_path: Path
) -> None:
    handled: list[str] = []

    async def stumble(event: object) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(str(event))
        if len(handled) == 1:
            raise ValueError("not today")

    report = await call(App(on_event=stumble), settings(certificates, tmp_path), certificates)
    assert report.passed, str(report)
    assert "failed" in [line["what"] for line in lines(tmp_path, "webhooks")]
