"""What the receiver's tests share: a whole receiver in memory, and MiniVoice's side of it.

The receiver is the real one, `serve()`, over memory streams, in virtual time. Its disk work is done
inline, for a virtual clock would jump while a thread writes.
"""

from __future__ import annotations

import json
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.net.connect import Connector
from minivoice_ref.net.http import Response
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, open_connected
from minivoice_ref.protocol.audio import decode_mulaw, encode_mulaw
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import MediaFormat, Started, Track, WireMessage
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from minivoice_ref.receiver.annex import OpenAnnex
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import InlineDisk, OpenDisk
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.testing import MemoryNetwork, living_tasks

HOST = "receiver.test"
WALL = 1_780_000_000.0  # what the wall's clock says when the virtual one says 0
MULAW = MediaFormat("mulaw", 8000, 1)
FRAME = 160  # samples, and bytes, of 20 ms

_PERIOD = 24000
_SOUND = encode_mulaw(
    b"".join(
        ((place * 37) % _PERIOD - 12000).to_bytes(2, "little", signed=True)
        for place in range(_PERIOD)
    )
)


def wall_clock() -> float:
    """Unix seconds that pass as virtual time does."""
    return WALL + trio.current_time()


def settings(folder: Path, **changes: Any) -> Config:
    """The settings of a receiver in memory."""
    given: dict[str, Any] = {
        "listen": f"{HOST}:80",
        "plain": True,
        "insecure": True,
        "public_url": f"https://{HOST}:80",
        "data": folder / "data",
    }
    return Config(**given | changes)


def patient(**changes: float) -> Timeouts:
    """Timeouts that do not end a stream within a test, save those that it changes."""
    calm = {"silence": 5000.0, "ping_every": 5000.0, "longest_stream": 100000.0}
    return Timeouts(**calm | changes)


def sound(start: int, samples: int = FRAME) -> bytes:
    """Mu-law audio that tells its place: each sample of a track differs from its neighbours."""
    start %= _PERIOD
    return (_SOUND * (1 + (start + samples) // _PERIOD))[start : start + samples]


def read_wav(path: Path) -> tuple[int, bytes, bytes]:
    """The sample rate of a stereo WAV, its left and its right channel."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        frames = file.readframes(file.getnframes())
        assert len(frames) == 4 * file.getnframes()
    left = b"".join(frames[at : at + 2] for at in range(0, len(frames), 4))
    right = b"".join(frames[at + 2 : at + 4] for at in range(0, len(frames), 4))
    return file.getframerate(), left, right


def pcm(start: int, samples: int) -> bytes:
    """What `sound` sounds like."""
    return decode_mulaw(sound(start, samples))


class Caller:
    """One media stream as the platform opens it, in Twilio's shape."""

    def __init__(self, socket: MediaSocket, call_id: str) -> None:
        self.socket = socket
        self.call_id = call_id
        self._encoder = TwilioEncoder()

    async def start(self, *tracks: Track, custom: Mapping[str, str] | None = None) -> None:
        """Greet and start."""
        started = Started(
            "twilio",
            MULAW,
            tracks or ("inbound", "outbound"),
            stream_id="MZ1",
            call_id=self.call_id,
            account_id="AC1",
            custom=custom or {},
        )
        await self._send([*self._encoder.connected(), *self._encoder.start(started)])

    async def frame(self, number: int, track: Track = "inbound") -> None:
        """Send the *number*th 20 ms of a track."""
        await self._send(self._encoder.media(track, sound(number * FRAME), number * 20))

    async def speak(self, frames: int, *tracks: Track, first: int = 0) -> None:
        """Send so many frames of each track, in real time."""
        await trio.lowlevel.checkpoint()
        for number in range(first, first + frames):
            for track in tracks or ("inbound",):
                await self.frame(number, track)
            await trio.sleep(0.02)

    async def digit(self, digit: str) -> None:
        """Press a key."""
        await self._send(self._encoder.digit(digit, "inbound"))

    async def stop(self) -> None:
        """Say that the stream is over."""
        await self._send(self._encoder.stop())

    async def _send(self, messages: Sequence[WireMessage]) -> None:
        await trio.lowlevel.checkpoint()
        for message in messages:
            await self.socket.send(message)

    async def close_code(self) -> int:
        """Wait for the end and return the code that the platform sees."""
        await trio.lowlevel.checkpoint()
        try:
            while True:
                await self.socket.receive()
        except SocketClosed as exc:
            return exc.code


class Lab:
    """A running receiver, and what the platform does to it."""

    def __init__(self, server: Server, config: Config, network: MemoryNetwork) -> None:
        self.server = server
        self.config = config
        self.network = network
        self.serving = trio.CancelScope()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Make one HTTP request."""
        return await fetch(
            method,
            f"http://{HOST}:80{path}",
            headers=tuple((headers or {}).items()),
            body=body,
            connect=self.network.connect,
            timeouts=Timeouts(),
            limits=Limits(),
        )

    async def stream_url(self, call_id: str = "call_1") -> str:
        """Ask for an answer as the platform does, and return the URL of its first action."""
        response = await self.request(
            "POST",
            "/answer",
            json.dumps({"call": {"id": call_id}}).encode(),
            {"Content-Type": "application/json"},
        )
        assert response.status == 200, response
        url = json.loads(response.body)["actions"][0]["stream_url"]
        assert isinstance(url, str)
        return url

    @asynccontextmanager
    async def stream(
        self, call_id: str = "call_1", url: str | None = None, connect: Connector | None = None
    ) -> AsyncIterator[Caller]:
        """Open a media stream, by the answer's URL."""
        async with open_connected(
            url or await self.stream_url(call_id),
            connect=connect or self.network.connect,
            limits=Limits(),
            timeouts=Timeouts(),
        ) as socket:
            yield Caller(socket, call_id)

    async def deliver(
        self, body: bytes, *, secret: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Deliver a webhook, signed where a secret is given."""
        signed = dict(headers or {})
        if secret is not None:
            timestamp = str(int(wall_clock()))
            signed |= {
                TIMESTAMP_HEADER: timestamp,
                SIGNATURE_HEADER: sign_webhook(secret, timestamp, body),
            }
        return await self.request(
            "POST", "/webhooks", body, {"Content-Type": "application/json"} | signed
        )

    async def lines(self, log: str, what: str | None = None) -> list[dict[str, Any]]:
        """The lines of a log so far, all or those of one kind."""
        await trio.testing.wait_all_tasks_blocked()
        return read_log(self.config.data, log, what)


def read_log(data: Path, log: str, what: str | None = None) -> list[dict[str, Any]]:
    """The lines of a log in a data folder."""
    path = data / f"{log}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if what is None or line["what"] == what]


def webhook(event: str = "call.completed", call_id: str = "call_1", **data: object) -> bytes:
    """The body of a webhook in the documented envelope."""
    status = event.rpartition(".")[2]
    return json.dumps(
        {
            "event": event,
            "created_at": "2026-05-29T12:10:00Z",
            "call": {"id": call_id, "status": status, "direction": "inbound"},
            "variables": {},
            "data": data,
        }
    ).encode()


@asynccontextmanager
async def open_lab(
    app: App, config: Config, *, disk: OpenDisk = InlineDisk, annex: OpenAnnex | None = None
) -> AsyncIterator[Lab]:
    """Run a receiver in memory for a block, then drain it."""
    network = MemoryNetwork()

    serving = trio.CancelScope()

    # flake8-async does not see that serve() reports for us.
    async def run(task_status: trio.TaskStatus[Server]) -> None:  # noqa: ASYNC114, ASYNC128
        with serving:
            await serve(
                app,
                config,
                listen=network.listen,
                disk=disk,
                clock=wall_clock,
                annex=annex,
                task_status=task_status,
            )

    async with trio.open_nursery() as nursery:
        lab = Lab(await nursery.start(run), config, network)
        lab.serving = serving
        await trio.testing.wait_all_tasks_blocked()
        yield lab
        lab.server.stop()


async def settle() -> int:
    """Wait until nothing more happens at this moment; return how many tasks are alive."""
    await trio.testing.wait_all_tasks_blocked()
    return living_tasks()
