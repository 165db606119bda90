"""The link to Redis, as the settings name it: one server, sentinels, or a Redis Cluster.

A *session* is one client with its connections. Whatever is asked of Redis is answered within
`timeouts.cluster` seconds or raises InboxFailed; a session that has failed is ended by whoever runs
it, and the next one has new connections, so that nothing waits for an answer on a dead one.

This module, the only importer of coredis, knows no event and no call. Read next: `cluster.py`.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeAlias, TypeVar

import trio
from coredis import Redis, RedisCluster, Sentinel
from coredis.connection import TCPLocation
from coredis.exceptions import AuthorizationError, RedisError

from minivoice_ref.config_cluster import ClusterSettings, read_cluster_url
from minivoice_ref.net.tls import client_context
from minivoice_ref.receiver.commons import InboxFailed

__all__ = ["FAILURES", "RedisLink", "node_name"]

FAILURES = (InboxFailed, RedisError, OSError)
"""What ends a session, and is no fault of ours."""

_T = TypeVar("_T")
_Client: TypeAlias = "Redis[bytes] | RedisCluster[bytes]"

logging.getLogger("coredis").addHandler(logging.NullHandler())  # we say ourselves what fails


def node_name(worker: str | None) -> str:
    """A name for this process among those that share a Redis, unlike any other."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())
    return f"{host}.{worker or os.getpid()}.{secrets.token_hex(3)}"


class RedisLink:
    """Asks Redis. `trouble` says what the matter is until something was stored again.

    `prefix` begins all keys: its braces put them into one slot of a Redis Cluster.
    """

    def __init__(self, config: ClusterSettings) -> None:
        self.trouble: str | None = None
        self.prefix = f"{{{config.cluster_name}}}"
        self._config = config
        self._patience = config.timeouts.cluster
        self._client: _Client | None = None
        self._connected = trio.Event()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """A client, which serves everybody while the block runs."""
        async with _open_client(self._config) as client:
            self._client = client
            self._connected.set()
            try:
                yield
            finally:
                self._client, self._connected = None, trio.Event()

    async def run(
        self, script: str, *arguments: Any, replicas: int | None = None, writes: bool = True
    ) -> Any:
        """Run a script on our keys; with *replicas*, so many have to have what it wrote."""

        async def command(client: _Client) -> Any:
            patience = _ms(self._patience / 2)
            waiting: AbstractContextManager[Any] = nullcontext()
            if replicas:
                waiting = client.ensure_replication(replicas, patience)
            with waiting:
                return await client.register_script(script)([self.prefix], arguments)

        return await self._ask(command, writes=writes)

    async def values(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of some keys, in their order."""
        return list(await self._ask(lambda client: client.mget(keys)))

    async def info(self) -> dict[str, str]:
        """How Redis keeps what it is given, as far as it tells; nothing to who may not ask."""

        async def command(client: _Client) -> Any:
            try:
                return await client.info("persistence", "memory")
            except AuthorizationError:
                return {}  # noqa: ASYNC910  # it has been asked

        told = await self._ask(command)
        return {str(name): str(value) for name, value in told.items()}

    async def read_group(self, stream: str, group: str, consumer: str) -> list[tuple[bytes, bytes]]:
        """Wait a moment for an entry of a stream; return its id and its call, or nothing."""
        moment = _ms(self._patience / 2)

        async def command(client: _Client) -> Any:
            return await client.xreadgroup(group, consumer, {stream: ">"}, count=1, block=moment)

        read = await self._ask(command)
        return [
            (entry.identifier, entry.field_values[b"call"])
            for entries in (read or {}).values()
            for entry in entries
        ]

    async def read_streams(
        self, after: Mapping[str, bytes], most: int, moment: float
    ) -> dict[str, list[tuple[bytes, Mapping[bytes, bytes]]]]:
        """The entries of streams after these ids, *most* of each; waits a *moment* for the first.

        Each is an id with names and values.
        """

        async def command(client: _Client) -> Any:
            return await client.xread(after, count=most, block=_ms(moment))

        read = await self._ask(command)
        return {
            key.decode(): [(entry.identifier, entry.field_values) for entry in entries]
            for key, entries in (read or {}).items()
        }

    async def publish(self, channel: str, message: bytes) -> None:
        """Say something on a channel, to whoever hears it."""
        await self._ask(lambda client: client.publish(channel, message), writes=True)

    async def ping(self) -> None:
        """See that Redis answers."""
        await self._ask(lambda client: client.ping(), writes=True)

    async def hear(self, take: Callable[[bytes], None], *channels: str) -> None:
        """Have *take* called with each message of some channels, as long as the session lasts."""
        assert self._client is not None
        async with self._client.connection_pool.acquire() as connection:
            try:
                connection.send_command(b"SUBSCRIBE", *channels)
                async for push in connection.push_messages:
                    if push[0] == b"message":
                        assert isinstance(push[2], bytes)
                        take(push[2])
            finally:
                connection.invalidate()  # it can be used for nothing else any more

    async def _ask(
        self, command: Callable[[_Client], Awaitable[_T]], *, writes: bool = False
    ) -> _T:
        """Have Redis do something. Raises InboxFailed where it does not, or not in time."""
        client = None
        try:
            with trio.fail_after(self._patience):
                if self.trouble is None:
                    await self._connected.wait()
                client = self._client
                if client is None:
                    raise InboxFailed(self.trouble or "there is no connection to Redis")
                result = await command(client)
        except trio.TooSlowError:
            raise self.fail(f"Redis did not answer within {self._patience:g} s") from None
        except (RedisError, OSError) as exc:
            raise self.fail(_named(exc)) from exc
        except RuntimeError as exc:
            if client is self._client:
                raise
            # The session ended meanwhile; why, whoever found it out has told.
            raise self.fail(self.trouble or _named(exc)) from exc
        if writes:
            self.trouble = None
        return result

    def fail(self, why: str) -> InboxFailed:
        """Note that Redis cannot be had; return what to raise."""
        self.trouble = why
        return InboxFailed(why)

    def fail_as(self, exc: BaseException) -> None:
        """Note why a session ended, where nobody has yet."""
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        if not isinstance(exc, InboxFailed):
            self.fail(_named(exc))


@asynccontextmanager
async def _open_client(config: ClusterSettings) -> AsyncIterator[_Client]:
    """A client while the block runs. One server is first spoken to when something is asked of it.

    Raises what coredis does where sentinels or a cluster cannot be found.
    """
    assert config.cluster is not None
    url = read_cluster_url(config.cluster)
    tls: ssl.SSLContext | None = client_context(config.cluster_ca) if url.tls else None
    given: dict[str, Any] = {
        "username": url.user,
        "password": config.cluster_password,
        # So that a connection fails by itself before whoever waits for it gives up.
        "connect_timeout": config.timeouts.cluster / 2,
        "stream_timeout": config.timeouts.cluster,
        "ssl_context": tls,
    }
    locations = [TCPLocation(*host) for host in url.hosts]
    if url.kind == "cluster":
        async with RedisCluster[bytes](
            startup_nodes=locations, ssl=url.tls, decode_responses=False, **given
        ) as cluster:
            yield cluster
    elif url.kind == "sentinel":
        assert url.service is not None
        mine = {name: given[name] for name in ("connect_timeout", "stream_timeout", "ssl_context")}
        async with Sentinel(locations, sentinel_kwargs=mine, **given) as sentinel:
            async with sentinel.primary_for(url.service, db=url.database) as primary:
                yield primary
    else:
        host, port = url.hosts[0]
        async with Redis(host, port, url.database, **given) as one:
            yield one


def _named(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
