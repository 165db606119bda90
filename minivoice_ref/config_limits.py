"""How long we wait for anybody else, and how much of anything a peer can make us hold.

Each field is a setting of its own: `timeouts.silence` is `MINIVOICE_TIMEOUTS_SILENCE` in the
environment. Read next: `config.py`, which has all other settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Limits", "Timeouts", "setting"]


def setting(default: Any, help: str, *, secret: bool = False) -> Any:
    """A field of a settings class; its help ends up in the README's table."""
    return field(default=default, repr=not secret, metadata={"help": help, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long we wait for anybody else, in seconds: every wait on a peer has a name here."""

    tls_handshake: float = setting(5.0, "for a peer to finish the TLS handshake")
    request_head: float = setting(5.0, "for the whole head of a first request")
    request_body: float = setting(10.0, "for the whole body of a request")
    keep_alive: float = setting(15.0, "for the next request on an idle HTTP connection")
    upgrade: float = setting(5.0, "for the WebSocket opening handshake")
    send: float = setting(5.0, "for one response or one WebSocket frame to be taken by the peer")
    close: float = setting(2.0, "for the closing handshake, so that the peer hears why")
    first_message: float = setting(10.0, "for the first message of an opened stream")
    silence: float = setting(
        30.0, "without any message on a started stream before it counts as dead"
    )
    longest_stream: float = setting(14400.0, "that one stream may last")
    ping_every: float = setting(
        20.0, "between two pings on a stream, which keep idle proxies awake"
    )
    pong: float = setting(10.0, "for the answer to a ping")
    linger: float = setting(2.0, "that a stream may go on after its call has ended")
    finish: float = setting(5.0, "for on_stream to return after its stream has ended")
    answer: float = setting(5.0, "for on_answer to decide")
    grace: float = setting(30.0, "for connections to end by themselves while draining")
    connect: float = setting(
        10.0, "for a connection that we open (simulator), and to look up where we are to listen"
    )
    response: float = setting(10.0, "for the whole response to a request that we made (simulator)")
    cluster: float = setting(2.0, "for Redis to answer")
    lease: float = setting(
        15.0,
        "without a sign of a node before others handle its events and forget its streams; "
        "several times `timeouts.cluster`, or a node whose Redis is slow is taken for dead",
    )
    published: float = setting(60.0, "that published audio stays in Redis when no more comes")
    speech: float = setting(5.0, "for a speech program to say a text (simulator)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything a peer can make us hold.

    The platform calls from few addresses. So what an address may have is half of what all may
    have: enough for a thousand calls from one (each two sockets, an answer, a webhook), and no
    single stranger can take it all.
    """

    connections: int = setting(8000, "connections at once; more are answered 503")
    connections_per_address: int = setting(
        4000, "connections at once of one address (IPv6: one /64); more are answered 429"
    )
    handshakes: int = setting(
        500, "TLS handshakes at once; beyond that the one that has taken longest is given up"
    )
    streams: int = setting(4000, "streams at once; more are answered 503")
    streams_per_call: int = setting(8, "streams at once of one call; more are answered 429")
    streams_per_token: int = setting(
        2, "streams at once with one token; more are answered 429 (an assumption)"
    )
    request_head: int = setting(16384, "bytes of a request's head; more is answered 431")
    request_body: int = setting(65536, "bytes of a request's body; more is answered 413")
    response_body: int = setting(
        1048576, "bytes of a response that we take as a client (simulator)"
    )
    requests: int = setting(100, "requests on one HTTP connection")
    message: int = setting(65536, "bytes of one WebSocket message; more closes with 1009")
    message_rate: int = setting(
        1000, "messages a second of one stream, over ten seconds; more closes with 1008"
    )
    hand_over: float = setting(
        5.0,
        "seconds of audio that wait for on_stream, or to be published; then the oldest is dropped",
    )
    published: int = setting(
        3000, "pieces of audio of one stream that publish_media keeps in Redis, about"
    )
    calls: int = setting(10000, "calls remembered at once; the longest ended is forgotten first")
    backlog: int = setting(
        100000, "events that wait to be handled in a cluster; more are answered 503"
    )
    capture: int = setting(1073741824, "bytes of one stream's capture file; it ends there")
    log_file: int = setting(104857600, "bytes of a log before a new file is begun")
    log_files: int = setting(10, "full files of each log that are kept")
    log_excerpt: int = setting(400, "characters of a peer's message quoted in a log")
    first_messages: int = setting(4, "messages of each stream that are logged verbatim")
    held_messages: int = setting(
        50, "messages that are held, undecoded, while a stream's start is waited for"
    )
    held_bytes: int = setting(131072, "characters or bytes that are held so")
    reorder: int = setting(
        10, "messages to wait for a late one in a dialect that promises no order"
    )
    jump: float = setting(
        3600.0, "seconds a timestamp may jump before the platform's clock counts as restarted"
    )
