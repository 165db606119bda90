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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minivoice_ref.config_checks import (
    Networks,
    is_loopback,
    problems,
    read_networks,
    split_address,
)
from minivoice_ref.config_limits import Limits, Timeouts, setting
from minivoice_ref.config_sources import GROUPS, ConfigError, read_environ, read_toml
from minivoice_ref.protocol.media import MediaFormat

__all__ = ["Config", "ConfigError", "Limits", "Networks", "Timeouts", "is_loopback"]
__all__ += ["split_address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The receiver's settings.

    For a test, `Config(listen="127.0.0.1:0", plain=True, data=PATH)` is enough. Which values cannot
    work, alone or together, stands in `config_checks.py`.
    """

    workers: int = setting(
        1, "processes that serve behind the same doors, on a machine with as many cores"
    )
    listen: str = setting(
        "127.0.0.1:8443", "HOST:PORT of answer_url, webhooks and streams; port 0 picks one"
    )
    stream_listen: str | None = setting(
        None,
        "HOST:PORT of a door of their own for streams; where public_url is set, their URLs name "
        "that, so a proxy must route /stream here",
    )
    tls_cert: Path | None = setting(None, "PEM file of the certificate and its chain")
    tls_key: Path | None = setting(None, "PEM file of the certificate's private key")
    plain: bool = setting(
        False, "no TLS here: it ends at a proxy in front, whose URL public_url should name"
    )
    public_url: str | None = setting(
        None, "https URL under which the platform reaches us; the streams' URLs begin with it"
    )
    track: str = setting(
        "both", "track that the default answer asks for: inbound, outbound or both"
    )
    record: bool = setting(False, "write a stereo WAV and its account for each stream")
    capture: bool = setting(
        False, "keep every message of each stream in a file, to show and replay it"
    )
    data: Path = setting(Path("minivoice-data"), "folder of logs, accepted webhooks and recordings")
    inbox: Path | None = setting(
        None, "file of the accepted webhooks; unset: inbox.sqlite3 in the data folder"
    )
    notes: Path = setting(
        Path("/dev/shm"),
        "folder in the machine's memory, to note there at once what on_event is done with",
    )
    cluster: str | None = setting(
        None,
        "redis:// URL of what the nodes of a cluster share; also rediss://, "
        "redis+sentinel://HOST:PORT,…/SERVICE, redis+cluster://HOST:PORT,…; unset: one machine",
    )
    cluster_password: str | None = setting(
        None,
        "password of the user that the cluster's URL names, or of the default one",
        secret=True,
    )
    cluster_ca: Path | None = setting(
        None, "PEM file of an authority to trust beside the system's, for rediss"
    )
    cluster_name: str = setting(
        "minivoice", "what our keys begin with, where several clusters share one Redis"
    )
    cluster_replicas: int | None = setting(
        None, "replicas of Redis that must have an event before its 2xx (WAIT); unset: none"
    )
    publish_media: bool = setting(
        False, "hand each stream's audio on to workers on other machines, through the cluster"
    )
    webhook_secret: str | None = setting(
        None, "secret of the webhooks' signatures; unset: they are not checked", secret=True
    )
    webhook_secret_previous: str | None = setting(
        None,
        "the secret before webhook_secret, still good while the platform is told of the new one",
        secret=True,
    )
    webhook_tolerance: float = setting(
        300.0, "seconds a signed webhook's timestamp may differ from our clock (an assumption)"
    )
    token_key: str | None = setting(
        None, "key of the stream tokens; unset: a new one at each start", secret=True
    )
    token_lifetime: float = setting(3600.0, "seconds a stream token is good for")
    require_token: bool = setting(
        True,
        "refuse streams without a good token; off only in a lab. A token ties a stream to a call "
        "and proves no more: whoever may ask answer_url gets one",
    )
    stream_auth: str | None = setting(
        None,
        "`Basic USER:PASSWORD` or `Bearer TOKEN` that a stream has to show beside its token",
        secret=True,
    )
    answer_auth: str | None = setting(
        None,
        "`Basic USER:PASSWORD` or `Bearer TOKEN` that whoever asks answer_url has to show",
        secret=True,
    )
    allow: str | None = setting(
        None, "networks that may come in, with commas between; unset: all. /health is for everybody"
    )
    trusted_proxies: str | None = setting(
        None,
        "networks of the proxies whose word on their clients' addresses we take; unset: nobody's",
    )
    proxy_header: str = setting(
        "x-forwarded-for",
        "header in which they write it, x-forwarded-for or forwarded: what else a client sends "
        "passes through them unchanged",
    )
    insecure: bool = setting(
        False,
        "serve other machines without TLS, or without a webhook_secret, all the same",
    )
    fallback_format: str = setting(
        "l16le/8000/1", "format of a stream that names none: ENCODING/RATE/CHANNELS"
    )
    dialect: str = setting(
        "minivoice", "wire format of the streams; minivoice takes whatever comes (an assumption)"
    )
    l16: str = setting(
        "auto",
        "byte order of audio that is only called L16: l16le, l16be, or auto as each dialect has it",
    )
    one_channel: str = setting(
        "mixed", "whose audio it is in a stream that does not say: inbound, outbound or mixed"
    )
    transport: str = setting(
        "fast", "way to read TLS and WebSockets: fast, or simple, by the libraries alone"
    )
    gather: float = setting(
        0.006,
        "seconds that audio waits at most, so that the fast transport reads many streams in one go",
    )
    webhook_method: str = setting("POST", "HTTP method of a webhook (an assumption)")
    webhook_memory: float = setting(
        604800.0, "seconds that a handled webhook is remembered, to know its duplicates"
    )
    event_attempts: int = setting(
        20, "times that on_event is tried for one webhook before it is set aside"
    )
    progress_every: float = setting(
        5.0, "seconds between two progress lines of a stream in the log"
    )
    watchdog: float | None = setting(
        None,
        "seconds that a task may block the event loop before the log names it; unset: no watch",
    )
    metrics: bool = setting(False, "serve figures for Prometheus at /metrics (extra `metrics`)")
    metrics_auth: str | None = setting(
        None,
        "`Basic USER:PASSWORD` or `Bearer TOKEN` that a scraper has to show; unset: only this "
        "machine may ask",
        secret=True,
    )
    ready_lag: float = setting(
        0.1, "seconds that the event loop may be late before /ready asks for no more calls"
    )
    console: bool = setting(
        False, "serve the console, to watch and hear calls in a browser, at /console/"
    )
    console_listen: str | None = setting(
        None, "HOST:PORT of a door of its own for the console; on loopback it speaks no TLS"
    )
    console_token: str | None = setting(
        None, "opens the console to whoever has it; unset: only loopback may look", secret=True
    )
    console_test_calls: bool = setting(
        False, "let the console place test calls at this receiver, with the simulator"
    )
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        for name in ("data", "inbox", "notes", "tls_cert", "tls_key", "cluster_ca"):
            if isinstance(path := getattr(self, name), str):
                object.__setattr__(self, name, Path(path))
        found = list(problems(self))
        if found:
            raise ConfigError(found)

    @property
    def media_format(self) -> MediaFormat:
        """The format that `fallback_format` names."""
        encoding, rate, channels = self.fallback_format.split("/")
        return MediaFormat(encoding, int(rate), int(channels))  # type: ignore[arg-type]  # checked

    @property
    def allowed_networks(self) -> Networks:
        """The networks that `allow` names; empty where everybody may come in."""
        return read_networks(self.allow)

    @property
    def proxy_networks(self) -> Networks:
        """The networks that `trusted_proxies` names."""
        return read_networks(self.trusted_proxies)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets with which a webhook may be signed; empty where none is asked for."""
        both = (self.webhook_secret, self.webhook_secret_previous)
        return tuple(secret for secret in both if secret is not None)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen: all secrets, and of credentials what stands behind the kind."""
        given = [
            getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata.get("secret")
        ]
        texts = [secret for secret in given if secret is not None]
        return (*texts, *(text.partition(" ")[2] for text in texts if " " in text))

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
