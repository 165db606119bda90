"""The URL of what a cluster's nodes share: `redis://…`, `redis+sentinel://…` and their kin.

    redis://[USER@]HOST[:PORT][/DB]                       one Redis
    redis+sentinel://[USER@]HOST:PORT,…/SERVICE[/DB]      the primary that these sentinels name
    redis+cluster://[USER@]HOST:PORT,…                    a Redis Cluster, found by any of these

With `rediss` in the place of `redis`, the connections are made over TLS. The password is a secret,
so it does not stand here, but in `cluster_password`. Read next: `config_checks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from minivoice_ref.config_limits import Timeouts

__all__ = ["ClusterSettings", "ClusterUrl", "read_cluster_url"]

Kind: TypeAlias = Literal["one", "sentinel", "cluster"]

_KINDS: dict[str, tuple[Kind, int]] = {
    "": ("one", 6379),
    "sentinel": ("sentinel", 26379),
    "cluster": ("cluster", 6379),
}


class ClusterSettings(Protocol):
    """What has to be known to reach Redis: some of a receiver's settings (`config.py`)."""

    @property
    def cluster(self) -> str | None:
        """The URL."""

    @property
    def cluster_password(self) -> str | None:
        """The password of its user."""

    @property
    def cluster_ca(self) -> Path | None:
        """An authority to trust beside the system's."""

    @property
    def cluster_name(self) -> str:
        """What the keys begin with."""

    @property
    def timeouts(self) -> Timeouts:
        """How long it is waited for: `timeouts.cluster`."""


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """Where Redis is. `service` is None except for sentinels."""

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    user: str | None = None
    service: str | None = None
    database: int = 0


def read_cluster_url(url: str) -> ClusterUrl:
    """Take a URL apart. Raises ValueError, which says what is wrong, without quoting the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:  # which may quote a password
        raise ValueError("it cannot be read as a URL") from None
    scheme, _, name = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or name not in _KINDS:
        raise ValueError("its scheme is not redis, redis+sentinel, redis+cluster, or with rediss")
    kind, usual_port = _KINDS[name]
    userinfo, _, netloc = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if colon:
        raise ValueError("a password stands in it, where others can read it")
    hosts = tuple(_host(host, usual_port) for host in netloc.split(","))
    if kind == "one" and len(hosts) > 1:
        raise ValueError("it names several hosts, but neither sentinels nor a cluster")
    path = [part for part in parts.path.split("/") if part]
    service = path.pop(0) if kind == "sentinel" and path else None
    if kind == "sentinel" and service is None:
        raise ValueError("it names no service that the sentinels would know")
    database = path.pop(0) if path and kind != "cluster" else "0"
    if path or not database.isdecimal() or parts.query or parts.fragment:
        raise ValueError("what follows the hosts is not understood")
    tls = scheme == "rediss"
    return ClusterUrl(kind, tls, hosts, unquote(user) or None, service, int(database))


def _host(text: str, usual_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host has no name")
    try:
        return parts.hostname, parts.port or usual_port
    except ValueError:  # it quotes what may be the beginning of a password
        raise ValueError("a port is no number from 1 to 65535") from None
