"""Who is at the doors at this moment: the limits on connections and on TLS handshakes.

A connection over a limit is not simply dropped: it is led in as far as its first request, so that
its client reads 503 (all are too many) or 429 (this address has too many) and when to come back.
Only so many are turned away in this way at once; who comes beyond that is closed without a word.

Of handshakes that are not finished there may be so many. Beyond that the oldest is given up, not
the newest refused: an honest peer is through in an instant, and who holds a place for seconds is
who wants to keep others out.

Knows addresses and no requests. Read next: `front_door.py`.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from minivoice_ref.config import Limits
from minivoice_ref.net.proxies import read_address

__all__ = ["Crowd", "Overrun", "address_of", "most_turned_away"]

_NEIGHBOURS = 64  # bits of an IPv6 address that one customer of a provider shares with himself


@dataclass(frozen=True, slots=True)
class Overrun:
    """The limit that somebody is over, by its name in `Limits`, and the status that says so.

    `is_told` is false where too many are being told already.
    """

    limit: str
    status: int
    is_told: bool = True


class Crowd:
    """Counts who is there. One for all doors of a server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._there = 0
        self._of_address: Counter[str] = Counter()
        self._turned_away = 0
        self._most_turned_away = most_turned_away(limits.connections)
        self._shaking_hands: dict[trio.CancelScope, None] = {}  # the oldest first

    @contextmanager
    def visit(self, peer: str, *, is_proxy: bool = False) -> Iterator[Overrun | None]:
        """Count a connection of *peer* while the block runs; say which limit it is over, if any.

        A proxy stands for many clients, so it is only counted among all.
        """
        address = "" if is_proxy else address_of(peer)
        overrun = self._overrun(address)
        if overrun is not None:
            self._turned_away += 1
            try:
                yield overrun
            finally:
                self._turned_away -= 1
            return
        self._there += 1
        self._of_address[address] += 1
        try:
            yield None
        finally:
            self._there -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    @contextmanager
    def handshake(self) -> Iterator[trio.CancelScope]:
        """Count a TLS handshake while the block runs; the block is cancelled if it must make room.

        Then `cancelled_caught` says so.
        """
        if len(self._shaking_hands) >= self._limits.handshakes:
            oldest = next(iter(self._shaking_hands))
            del self._shaking_hands[oldest]
            oldest.cancel()
        with trio.CancelScope() as scope:
            self._shaking_hands[scope] = None
            try:
                yield scope
            finally:
                self._shaking_hands.pop(scope, None)

    def _overrun(self, address: str) -> Overrun | None:
        is_told = self._turned_away < self._most_turned_away
        if self._there >= self._limits.connections:
            return Overrun("connections", 503, is_told)
        if address and self._of_address[address] >= self._limits.connections_per_address:
            return Overrun("connections_per_address", 429, is_told)
        return None


def most_turned_away(connections: int) -> int:
    """How many at once are told that they are too many, where so many *connections* may be there.

    Each takes a descriptor, too.
    """
    return min(connections // 10 or 1, 100)


def address_of(peer: str) -> str:
    """Whose connections count together: an IPv4 address, an IPv6 network; empty where unknown.

    *peer* is as `streams.peer_name` says it, with or without a port.
    """
    address = read_address(peer)
    if address is None or address.version == 4:
        return str(address or "")
    return str(ipaddress.ip_network((address, _NEIGHBOURS), strict=False))
