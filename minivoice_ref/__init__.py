"""Both ends of a MiniVoice media stream: the customer's side, and a stand-in for MiniVoice's.

These names are the public ones; `serve` begins everything on the customer's side:

    async def on_stream(stream: MediaStream) -> None:
        async for frame in stream:
            ...                           # frame.track, frame.position, frame.pcm

    trio.run(serve, App(on_stream=on_stream), Config.from_env())

Its heart is read within the hour, in this order, from what is said to who says it:

1. `protocol/media.py`: the events of a stream, and the format of its audio.
2. `protocol/dialects/twilio.py`: one wire format, decoded and encoded side by side.
3. `protocol/session.py`: messages in, events out; a table of states, and no clock.
4. `net/media_socket.py`: all that the rest knows of a WebSocket; deadlines and goodbyes.
5. `net/websocket.py`: how one is accepted, and what its library is protected from.
6. `net/front_door.py`: where every stranger comes in; the one fault wall; draining.
7. `receiver/app.py`: the three functions that an application supplies.
8. `receiver/media_stream.py`: the bounded queue between a stream and its application.
9. `receiver/stream.py`: one nursery a stream, in which whatever ends first ends all.
10. `receiver/server.py`: who is alive when, from the first door to the last line of the log.
11. `simulator/call.py`: the other side, one nursery a call.

Then room by room; each module ends its first lines with what to read next:

- `protocol/`, what is said: errors, actions, webhooks, signing, media, dialects, session, audio,
  timeline. Pure: no I/O, no clock.
- `net/`, how bytes come: streams, tls, http, websocket, and the front door. Knows nothing of calls.
  The fast way, which is harder, is `tls_stream.py`, `fast_wire.py` and `gather.py`.
- `receiver/`, the customer's side: app, calls, stream, recording, inbox, journal, routes, server.
- `simulator/`, MiniVoice's side: call, flow, speech, sender, delivery, report.
- `console/`, the live page in a browser: it watches a receiver that does not know it.
- `commands/` and `cli.py`, the command line; `rehearsal.py` and `testing.py`, both sides in one
  program.
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
