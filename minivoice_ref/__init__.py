"""Both ends of a MiniVoice media stream: the customer's side, and a stand-in for MiniVoice's.

These names are the public ones; `serve` begins everything on the customer's side:

    async def on_stream(stream: MediaStream) -> None:
        async for frame in stream:
            ...                           # frame.track, frame.position, frame.pcm

    trio.run(serve, App(on_stream=on_stream), Config.from_env())

The package reads in this order, each module naming the next:

1. `protocol/`, what is said: errors, actions, webhooks, signing, media, dialects, session, audio,
   timeline. Pure: no I/O, no clock.
2. `net/`, how bytes come: streams, tls, http, websocket, and the front door, where the one fault
   wall stands. Knows nothing of calls.
3. `receiver/`, the customer's side: app, calls, stream, recording, inbox, journal, routes, server.
4. `simulator/`, MiniVoice's side: call, flow, speech, sender, delivery, report.
5. `console/`, the live page in a browser: it watches a receiver that does not know it.
6. `commands/` and `cli.py`, the command line.
"""

from minivoice_ref._version import __version__
from minivoice_ref.config import Config, ConfigError, Limits, Timeouts
from minivoice_ref.protocol.actions import (
    Action,
    Answer,
    CheckedAnswer,
    bridge,
    check_answer,
    conference,
    gather,
    hold,
    mute,
    read_answer,
    redirect,
    resume,
    say,
    send_digits,
    start_recording,
    start_stream,
    stop_recording,
    stop_stream,
    transfer,
    unmute,
)
from minivoice_ref.protocol.errors import (
    InvalidDocument,
    LocalProtocolError,
    MiniVoiceError,
    Problem,
    ProtocolError,
    RemoteProtocolError,
)
from minivoice_ref.protocol.media import Digit, Mark, MediaFormat, Started, Unknown
from minivoice_ref.protocol.timeline import Account
from minivoice_ref.protocol.webhooks import CallEvent, CallInfo
from minivoice_ref.receiver.app import AnswerRequest, App
from minivoice_ref.receiver.media_stream import Frame, MediaStream
from minivoice_ref.receiver.server import Server, Urls, serve, serve_until_signal
from minivoice_ref.receiver.terminal import log_to_terminal

__all__ = [
    "Account",
    "Action",
    "Answer",
    "AnswerRequest",
    "App",
    "CallEvent",
    "CallInfo",
    "CheckedAnswer",
    "Config",
    "ConfigError",
    "Digit",
    "Frame",
    "InvalidDocument",
    "Limits",
    "LocalProtocolError",
    "Mark",
    "MediaFormat",
    "MediaStream",
    "MiniVoiceError",
    "Problem",
    "ProtocolError",
    "RemoteProtocolError",
    "Server",
    "Started",
    "Timeouts",
    "Unknown",
    "Urls",
    "__version__",
    "bridge",
    "check_answer",
    "conference",
    "gather",
    "hold",
    "log_to_terminal",
    "mute",
    "read_answer",
    "redirect",
    "resume",
    "say",
    "send_digits",
    "serve",
    "serve_until_signal",
    "start_recording",
    "start_stream",
    "stop_recording",
    "stop_stream",
    "transfer",
    "unmute",
]
