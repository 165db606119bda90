"""Whom a request comes from, where it came through proxies.

Anybody can write a header. So what `Forwarded` (RFC 7239) or `X-Forwarded-For` says is believed as
far as proxies that the settings name have written it: from the right, where the nearest proxy adds
its word, to the first address that is no such proxy. That one is the client; what stands to the
left of it is the client's own tale.

Pure. Read next: `crowd.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from minivoice_ref.config import Networks
from minivoice_ref.net.http_messages import Request, tokens

__all__ = ["client_of", "is_among", "read_address"]

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


def client_of(request: Request, proxies: Networks) -> str:
    """The address of the client, by the words of the *proxies*; `request.peer` where it is none."""
    client = request.peer
    for hop in _hops(request):
        if not is_among(client, proxies):
            return client
        address = read_address(hop)
        if address is None:  # `unknown`, or a name that hides it: nobody beyond can be told apart
            return client
        client = f"[{address}]" if address.version == 6 else str(address)
    return client


def is_among(peer: str, networks: Networks) -> bool:
    """Whether the address of *peer*, with or without a port, is in one of the *networks*."""
    address = read_address(peer)
    return address is not None and any(address in network for network in networks)


def _hops(request: Request) -> Iterator[str]:
    """Who was asked by whom, the nearest first. `Forwarded` counts where both headers are there."""
    forwarded = tokens(request.header("forwarded"))
    if forwarded:
        for element in forwarded[: -_MOST_HOPS - 1 : -1]:
            match = _FOR.search(element)
            yield match[1] if match is not None else ""
    else:
        yield from tokens(request.header("x-forwarded-for"))[: -_MOST_HOPS - 1 : -1]
