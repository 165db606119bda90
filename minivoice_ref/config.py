"""Every setting of the receiver, validated once, before anything is opened.

Settings come from four places, the later over the earlier: the defaults below, a TOML file, the
environment, the command line. Secrets come from the environment or from a file, never from the
command line, where every user of the machine could read them.

A setting's name is the same everywhere: `stream_listen` here and in TOML, `MINIVOICE_STREAM_LISTEN`
in the environment, `--stream-listen` on the command line; `timeouts.silence` is
`MINIVOICE_TIMEOUTS_SILENCE`. Durations are seconds and sizes bytes unless the help says otherwise.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minivoice_ref.config_sources import GROUPS, ConfigError, read_environ, read_toml
from minivoice_ref.protocol.dialects.detect import ANY, DIALECTS
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.protocol.media import MediaFormat

__all__ = ["Config", "ConfigError", "Limits", "Timeouts", "split_address"]

_ENCODINGS = ("mulaw", "alaw", "l16le", "l16be")
_TRACKS = ("inbound", "outbound", "both")
_SHORTEST_SECRET = 8  # characters; a shorter one would also be found in half of what is logged
_CHOICES = {
    "track": _TRACKS,
    "dialect": tuple(dict.fromkeys((*ANY, *DIALECTS))),
    "l16": ("auto", "l16le", "l16be"),
    "one_channel": ("inbound", "outbound", "mixed"),
}


def _setting(default: Any, help: str, *, secret: bool = False) -> Any:
    """A field of a settings class; its help ends up in the README's table."""
    return field(default=default, repr=not secret, metadata={"help": help, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long we wait for anybody else, in seconds: every wait on a peer has a name here."""

    tls_handshake: float = _setting(5.0, "for a peer to finish the TLS handshake")
    request_head: float = _setting(5.0, "for the whole head of a first request")
    request_body: float = _setting(10.0, "for the whole body of a request")
    keep_alive: float = _setting(15.0, "for the next request on an idle HTTP connection")
    upgrade: float = _setting(5.0, "for the WebSocket opening handshake")
    send: float = _setting(5.0, "for one response or one WebSocket frame to be taken by the peer")
    close: float = _setting(2.0, "for the closing handshake, so that the peer hears why")
    first_message: float = _setting(10.0, "for the first message of an opened stream")
    silence: float = _setting(
        30.0, "without any message on a started stream before it counts as dead"
    )
    longest_stream: float = _setting(14400.0, "that one stream may last")
    ping_every: float = _setting(
        20.0, "between two pings on a stream, which keep idle proxies awake"
    )
    pong: float = _setting(10.0, "for the answer to a ping")
    linger: float = _setting(2.0, "that a stream may go on after its call has ended")
    finish: float = _setting(5.0, "for on_stream to return after its stream has ended")
    answer: float = _setting(5.0, "for on_answer to decide")
    grace: float = _setting(30.0, "for connections to end by themselves while draining")
    connect: float = _setting(10.0, "for a connection that we open (simulator)")
    response: float = _setting(10.0, "for the whole response to a request that we made (simulator)")
    speech: float = _setting(5.0, "for a speech program to say a text (simulator)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything a peer can make us hold."""

    request_head: int = _setting(16384, "bytes of a request's head; more is answered 431")
    request_body: int = _setting(65536, "bytes of a request's body; more is answered 413")
    response_body: int = _setting(
        1048576, "bytes of a response that we take as a client (simulator)"
    )
    requests: int = _setting(100, "requests on one HTTP connection")
    message: int = _setting(65536, "bytes of one WebSocket message; more closes with 1009")
    hand_over: float = _setting(
        5.0, "seconds of audio that wait for on_stream before the oldest is dropped"
    )
    calls: int = _setting(10000, "calls remembered at once; the longest ended is forgotten first")
    capture: int = _setting(1073741824, "bytes of one stream's capture file; it ends there")
    log_excerpt: int = _setting(400, "characters of a peer's message quoted in a log")
    first_messages: int = _setting(4, "messages of each stream that are logged verbatim")
    held_messages: int = _setting(
        50, "messages that are held, undecoded, while a stream's start is waited for"
    )
    held_bytes: int = _setting(131072, "characters or bytes that are held so")
    reorder: int = _setting(
        10, "messages to wait for a late one in a dialect that promises no order"
    )
    jump: float = _setting(
        3600.0, "seconds a timestamp may jump before the platform's clock counts as restarted"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The receiver's settings.

    For a test, `Config(listen="127.0.0.1:0", plain=True, data=PATH)` is enough.
    """

    listen: str = _setting(
        "127.0.0.1:8443", "HOST:PORT of answer_url, webhooks and streams; port 0 picks one"
    )
    stream_listen: str | None = _setting(
        None,
        "HOST:PORT of a door of their own for streams; where public_url is set, their URLs name "
        "that, so a proxy must route /stream here",
    )
    tls_cert: Path | None = _setting(None, "PEM file of the certificate and its chain")
    tls_key: Path | None = _setting(None, "PEM file of the certificate's private key")
    plain: bool = _setting(
        False, "no TLS here: it ends at a proxy in front, whose URL public_url should name"
    )
    public_url: str | None = _setting(
        None, "https URL under which the platform reaches us; the streams' URLs begin with it"
    )
    track: str = _setting(
        "both", "track that the default answer asks for: inbound, outbound or both"
    )
    record: bool = _setting(False, "write a stereo WAV and its account for each stream")
    capture: bool = _setting(
        False, "keep every message of each stream in a file, to show and replay it"
    )
    data: Path = _setting(
        Path("minivoice-data"), "folder of logs, accepted webhooks and recordings"
    )
    inbox: Path | None = _setting(
        None, "file of the accepted webhooks; unset: inbox.sqlite3 in the data folder"
    )
    webhook_secret: str | None = _setting(
        None, "secret of the webhooks' signatures; unset: they are not checked", secret=True
    )
    webhook_tolerance: float = _setting(
        300.0, "seconds a signed webhook's timestamp may differ from our clock (an assumption)"
    )
    token_key: str | None = _setting(
        None, "key of the stream tokens; unset: a new one at each start", secret=True
    )
    token_lifetime: float = _setting(3600.0, "seconds a stream token is good for")
    require_token: bool = _setting(
        True,
        "refuse streams without a good token; off only in a lab. A token ties a stream to a call "
        "and proves no more: whoever may ask answer_url gets one",
    )
    fallback_format: str = _setting(
        "l16le/8000/1", "format of a stream that names none: ENCODING/RATE/CHANNELS"
    )
    dialect: str = _setting(
        "minivoice", "wire format of the streams; minivoice takes whatever comes (an assumption)"
    )
    l16: str = _setting(
        "auto",
        "byte order of audio that is only called L16: l16le, l16be, or auto as each dialect has it",
    )
    one_channel: str = _setting(
        "mixed", "whose audio it is in a stream that does not say: inbound, outbound or mixed"
    )
    webhook_method: str = _setting("POST", "HTTP method of a webhook (an assumption)")
    webhook_memory: float = _setting(
        604800.0, "seconds that a handled webhook is remembered, to know its duplicates"
    )
    event_attempts: int = _setting(
        20, "times that on_event is tried for one webhook before it is set aside"
    )
    progress_every: float = _setting(
        5.0, "seconds between two progress lines of a stream in the log"
    )
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        for name in ("data", "inbox", "tls_cert", "tls_key"):
            if isinstance(path := getattr(self, name), str):
                object.__setattr__(self, name, Path(path))
        problems = list(_problems(self))
        if problems:
            raise ConfigError(problems)

    @property
    def media_format(self) -> MediaFormat:
        """The format that `fallback_format` names."""
        encoding, rate, channels = self.fallback_format.split("/")
        return MediaFormat(encoding, int(rate), int(channels))  # type: ignore[arg-type]  # checked

    @classmethod
    def from_toml(cls, path: Path) -> Config:
        """The settings of a TOML file; see `load`."""
        return cls.load(toml=path)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """The settings of the `MINIVOICE_…` variables; see `load`."""
        return cls.load(environ=os.environ if environ is None else environ)

    @classmethod
    def load(
        cls,
        *,
        toml: Path | None = None,
        environ: Mapping[str, str] | None = None,
        **overrides: Any,
    ) -> Config:
        """The settings of a TOML file, over them those of the environment, over them *overrides*.

        A secret may also be the content of the file that `MINIVOICE_…_FILE` names. An override that
        is None counts as not given. Raises ConfigError with every problem of the first source that
        has any: a file that cannot be read, a name that is no setting, a value that cannot be used.
        """
        values: dict[str, Any] = {} if toml is None else read_toml(cls, toml)
        for name, value in ({} if environ is None else read_environ(cls, environ)).items():
            values[name] = {**values.get(name, {}), **value} if name in GROUPS else value
        values.update((name, value) for name, value in overrides.items() if value is not None)
        for name, group in (("limits", Limits), ("timeouts", Timeouts)):
            if isinstance(values.get(name), dict):
                values[name] = group(**values[name])
        return cls(**values)


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` as host and port; `[::1]:8443` loses its brackets. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _problems(config: Config) -> Iterator[Problem]:
    """Everything about *config* that cannot work."""
    yield from _address_problems(config)
    yield from _tls_problems(config)
    for name, choices in _CHOICES.items():
        chosen = getattr(config, name)
        if chosen not in choices:
            problem = f"{chosen!r} cannot be chosen"
            yield Problem(name, problem, f"choose one of: {', '.join(choices)}")
    if not _is_media_format(config.fallback_format):
        yield Problem(
            "fallback_format",
            f"{config.fallback_format!r} is not ENCODING/RATE/CHANNELS",
            f"write for example l16le/8000/1; encodings: {', '.join(_ENCODINGS)}; channels: 1 or 2",
        )
    if not (config.webhook_method.isalpha() and config.webhook_method.isupper()):
        yield Problem("webhook_method", f"{config.webhook_method!r} is no method", "write POST")
    for name in ("webhook_secret", "token_key"):
        secret = getattr(config, name)
        if secret is not None and len(secret) < _SHORTEST_SECRET:
            problem = f"is shorter than {_SHORTEST_SECRET} characters" if secret else "is empty"
            yield Problem(name, problem, "give a long random text or leave it unset")
    for group, prefix in ((config, ""), (config.limits, "limits."), (config.timeouts, "timeouts.")):
        for f in dataclasses.fields(group):
            value = getattr(group, f.name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if is_number and not 0 < value < float("inf"):
                problem = f"{value!r} is not a positive number"
                yield Problem(prefix + f.name, problem, f"it counts {f.metadata['help']}")


def _address_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with where we listen and how the platform reaches us."""
    for name in ("listen", "stream_listen"):
        address = getattr(config, name)
        try:
            if address is not None:
                split_address(address)
        except ValueError:
            mend = "write for example 127.0.0.1:8443 or [::]:8443"
            yield Problem(name, f"{address!r} is not HOST:PORT", mend)
    if config.public_url is not None and not _is_https_url(config.public_url):
        problem = f"{config.public_url!r} is not an https URL"
        yield Problem("public_url", problem, "write for example https://media.example.com")


def _tls_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with who ends TLS."""
    if config.plain and (config.tls_cert or config.tls_key):
        yield Problem("plain", "contradicts tls_cert and tls_key", "drop one or the other")
    if not config.plain and not (config.tls_cert and config.tls_key):
        yield Problem(
            "tls_cert",
            "and tls_key are both needed: MiniVoice connects by https and wss only",
            "name both files (`minivoice-ref cert DIR` makes a pair), "
            "or set plain behind a proxy that ends TLS",
        )


def _is_https_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError where it is no port
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and not parts.query + parts.fragment


def _is_media_format(text: str) -> bool:
    encoding, _, rest = text.partition("/")
    rate, _, channels = rest.partition("/")
    good_rate = rate.isascii() and rate.isdecimal() and 0 < int(rate) <= 192_000
    return encoding in _ENCODINGS and good_rate and channels in ("1", "2")
