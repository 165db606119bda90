"""The doors of a receiver: what is bound, under which URLs, and who stands behind which.

One door serves everything. Streams may have a door of their own (`stream_listen`), and so may the
console (`console_listen`), which on loopback speaks no TLS: nobody can listen in there, and a
browser need not be told to trust a certificate made for tests.

This module knows no route. Read next: `server.py`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import trio

from minivoice_ref.config import Config, ConfigError, is_loopback, split_address
from minivoice_ref.net.front_door import Door, Site
from minivoice_ref.net.gather import new_gatherer
from minivoice_ref.net.proxies import Proxies
from minivoice_ref.net.tls import server_context
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.annex import WithAnnex
from minivoice_ref.receiver.routes import ReceiverSite
from minivoice_ref.receiver.shared import Shared

__all__ = ["Addresses", "Listen", "Listeners", "Urls", "listen_tcp", "open_doors"]

Listeners: TypeAlias = Sequence[trio.abc.Listener[trio.abc.Stream]]
Listen: TypeAlias = Callable[[str, int], Awaitable[Listeners]]
"""Opens listeners at a host and a port: the way to inject another network."""

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a server listens, as bound: a port 0 of the settings is a real one here.

    `console` is None where the settings have none.
    """

    base: str
    answer: str
    webhooks: str
    stream: str
    health: str
    console: str | None = None


async def listen_tcp(host: str, port: int) -> Listeners:
    """Listen at each address that *host* has. Raises OSError where it cannot."""
    return await trio.open_tcp_listeners(port, host=host)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What was bound: the main door's listeners, and those of doors of their own, if any."""

    tls: ssl.SSLContext | None
    main: Listeners
    main_name: str
    streams: Listeners | None
    streams_name: str
    console: Listeners | None
    console_url: str | None

    @property
    def urls(self) -> Urls:
        """The URLs that lead to these doors."""
        s = "" if self.tls is None else "s"
        base = f"http{s}://{self.main_name}"
        return Urls(
            base=base,
            answer=f"{base}/answer",
            webhooks=f"{base}/webhooks",
            stream=f"ws{s}://{self.streams_name}/stream",
            health=f"{base}/health",
            console=self.console_url,
        )

    def public_urls(self, config: Config) -> Urls | None:
        """The URLs to give to the platform where they differ from those that were bound."""
        if config.public_url is None:
            return None
        base = config.public_url.rstrip("/")
        return Urls(
            base=base,
            answer=f"{base}/answer",
            webhooks=f"{base}/webhooks",
            stream=self.stream_base(config),
            health=f"{base}/health",
        )

    def stream_base(self, config: Config) -> str:
        """What stream tokens are appended to. Always `wss`: the platform takes nothing else."""
        if config.public_url is not None:
            return f"wss{config.public_url.removeprefix('https').rstrip('/')}/stream"
        return f"wss://{self.streams_name}/stream"

    def doubts(self, config: Config) -> Iterator[tuple[str, str]]:
        """The settings with which the streams' URLs of our answers may lead nowhere, and why."""
        if config.public_url is not None:
            if self.streams is not None:
                yield "stream_listen", (
                    f"answers name {self.stream_base(config)}, the public_url's door: "
                    f"a proxy there must route /stream to {config.stream_listen}"
                )
            return
        if config.plain:
            why = f"answers name {self.stream_base(config)}, but that door speaks no TLS"
            yield "plain", f"{why}: set public_url to the proxy's"
        name, address = "listen", config.listen
        if config.stream_listen is not None:
            name, address = "stream_listen", config.stream_listen
        if split_address(address)[0] in _WILDCARDS:
            why = (
                f"answers name {self.stream_base(config)}, which leads here from this machine only"
            )
            yield name, f"{why}: set public_url"

    def read_certificate_anew(self, config: Config, doors: Iterable[Door]) -> None:
        """Give new connections the certificate that is in the files now. Raises ConfigError.

        Connections that are there keep theirs, which does them no harm.
        """
        if config.tls_cert is not None and config.tls_key is not None:
            tls = server_context(config.tls_cert, config.tls_key)
            for door in doors:
                door.tls = door.tls and tls

    def doors(self, shared: Shared) -> list[Door]:
        """The doors, with what stands behind each."""
        proxies = Proxies(shared.config.proxy_networks, shared.config.proxy_header)
        how = shared.config.transport, new_gatherer(shared.config.gather)
        if self.streams is None:
            sites: list[tuple[Listeners, Site]] = [(self.main, ReceiverSite(shared))]
        else:
            sites = [
                (self.main, ReceiverSite(shared, streams=False)),
                (self.streams, ReceiverSite(shared, http=False)),
            ]
        if shared.annex is None:
            return [Door(listeners, self.tls, site, proxies, *how) for listeners, site in sites]
        if self.console is None:
            listeners, site = sites[0]
            sites[0] = listeners, WithAnnex(site, shared.annex)
        doors = [Door(listeners, self.tls, site, proxies, *how) for listeners, site in sites]
        if self.console is not None:
            tls = self.tls if (self.console_url or "").startswith("https") else None
            doors.append(Door(self.console, tls, shared.annex, proxies))
        return doors


@asynccontextmanager
async def open_doors(config: Config, listen: Listen) -> AsyncIterator[Addresses]:
    """Load the certificate and bind the addresses; whatever happens next, they are freed again."""
    tls = None
    if config.tls_cert is not None and config.tls_key is not None:
        tls = server_context(config.tls_cert, config.tls_key)
    bound: list[trio.abc.Listener[trio.abc.Stream]] = []
    try:
        main, main_name = await _bind("listen", config, listen)
        bound += main
        streams, streams_name = None, main_name
        if config.stream_listen is not None:
            streams, streams_name = await _bind("stream_listen", config, listen)
            bound += streams
        console, console_url = None, None
        if config.console:
            console_name, s = main_name, "s" * (tls is not None)
            if config.console_listen is not None:
                console, console_name = await _bind("console_listen", config, listen)
                bound += console
                s = "s" * (tls is not None and not is_loopback(config.console_listen))
            console_url = f"http{s}://{console_name}/console/"
        yield Addresses(tls, main, main_name, streams, streams_name, console, console_url)
    finally:
        for listener in bound:
            await trio.aclose_forcefully(listener)


async def _bind(name: str, config: Config, listen: Listen) -> tuple[Listeners, str]:
    """Listen at the address of a setting; return also its `host:port` for a URL.

    A host that is a name has to be looked up, which gets `timeouts.connect` seconds.
    """
    address: str = getattr(config, name)
    host, port = split_address(address)
    try:
        with trio.fail_after(config.timeouts.connect):
            listeners = await listen(host, port)
    except trio.TooSlowError:
        why = f"{host} could not be looked up within {config.timeouts.connect:g} s"
        raise ConfigError([Problem(name, why, "name an address, or mend the DNS")]) from None
    except (OSError, UnicodeError) as exc:
        why = f"{address} cannot be opened: {getattr(exc, 'strerror', None) or exc}"
        raise ConfigError([Problem(name, why, "choose an address that is ours and free")]) from exc
    first = listeners[0]
    if isinstance(first, trio.SocketListener):
        host, port = first.socket.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return listeners, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
