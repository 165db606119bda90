"""Whom a request comes from, where it came through proxies.

Anybody can write a header. So what `X-Forwarded-For` or `Forwarded` (RFC 7239) says is believed as
far as proxies that the settings name have written it: from the right, where the nearest proxy adds
its word, to the first address that is no such proxy. That one is the client; what stands to the
left of it is the client's own tale. So is all of the header that the proxies do not write, since
they pass it on unchanged: only the one that the settings name is looked at.

Pure. Read next: `crowd.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from minivoice_ref.config import Networks
from minivoice_ref.net.http_messages import Request, tokens

__all__ = ["Proxies", "is_among", "read_address"]

_FOR = re.compile(r'(?:^|;)[ \t]*for="?(\[[0-9a-f:.%]+\]|[^";,:\s\[\]]+)(?::[^";,\s]*)?"?', re.I)
_MOST_HOPS = 32


def read_address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of *peer*, with or without a port; None where it is none."""
    host = peer[1:].partition("]")[0] if peer.startswith("[") else peer
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that are trusted, and the header in which they write: in lower case."""

    networks: Networks = ()
    header: str = "x-forwarded-for"

    def client_of(self, request: Request) -> str:
        """The address of the client, by the proxies' words; `request.peer` where it is no proxy."""
        client = request.peer
        for hop in self._hops(request):
            if not is_among(client, self.networks):
                break
            address = read_address(hop)
            if address is None:  # `unknown`, or a name that hides it: nobody beyond can be told
                break
            client = f"[{address}]" if address.version == 6 else str(address)
        return client

    def _hops(self, request: Request) -> Iterator[str]:
        """Who asked by way of whom, the nearest first."""
        for hop in tokens(request.header(self.header))[: -_MOST_HOPS - 1 : -1]:
            if self.header == "forwarded":
                match = _FOR.search(hop)
                yield match[1] if match is not None else ""
            else:
                yield hop


def is_among(peer: str, networks: Networks) -> bool:
    """Whether the address of *peer*, with or without a port, is in one of the *networks*."""
    address = read_address(peer)
    return address is not None and any(address in network for network in networks)
