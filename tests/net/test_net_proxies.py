"""Whose word is taken for where a request comes from."""

from __future__ import annotations

import pytest

from minivoice_ref.config import Networks
from minivoice_ref.config_checks import read_networks
from minivoice_ref.net.http_messages import Headers, Request
from minivoice_ref.net.proxies import Proxies, is_among

PROXIES: Networks = read_networks("10.0.0.0/8, 2001:db8:ffff::/48")


def asked(peer: str, *headers: tuple[str, str]) -> Request:
    """A request by way of *peer*."""
    given: Headers = headers
    return Request("GET", "/", "/", "", given, peer=peer)


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("192.0.2.1:5", None, "192.0.2.1:5"),
        ("192.0.2.1:5", ("X-Forwarded-For", "127.0.0.1"), "192.0.2.1:5"),  # no proxy of ours
        ("10.0.0.1:5", None, "10.0.0.1:5"),
        ("10.0.0.1:5", ("X-Forwarded-For", "192.0.2.7"), "192.0.2.7"),
        ("10.0.0.1:5", ("X-Forwarded-For", "127.0.0.1, 192.0.2.7"), "192.0.2.7"),
        ("10.0.0.1:5", ("X-Forwarded-For", "127.0.0.1, 192.0.2.7, 10.0.0.9"), "192.0.2.7"),
        ("10.0.0.1:5", ("X-Forwarded-For", "10.0.0.8, 10.0.0.9"), "10.0.0.8"),
        ("10.0.0.1:5", ("X-Forwarded-For", "2001:db8::7"), "[2001:db8::7]"),
        ("10.0.0.1:5", ("X-Forwarded-For", "192.0.2.7:4711"), "192.0.2.7"),
        ("10.0.0.1:5", ("X-Forwarded-For", "not an address"), "10.0.0.1:5"),
        ("10.0.0.1:5", ("Forwarded", "for=192.0.2.7;proto=https;by=10.0.0.1"), "192.0.2.7"),
        ("10.0.0.1:5", ("Forwarded", 'proto=https; For="[2001:db8::7]:4711"'), "[2001:db8::7]"),
        ("10.0.0.1:5", ("Forwarded", 'for=127.0.0.1, for="192.0.2.7:99"'), "192.0.2.7"),
        ("10.0.0.1:5", ("Forwarded", "for=unknown"), "10.0.0.1:5"),
        ("10.0.0.1:5", ("Forwarded", "proto=https"), "10.0.0.1:5"),
        ("[2001:db8:ffff::1]:5", ("Forwarded", "for=192.0.2.7"), "192.0.2.7"),
        ("[::ffff:10.0.0.1]:5", ("X-Forwarded-For", "192.0.2.7"), "192.0.2.7"),
        ("somewhere", ("X-Forwarded-For", "192.0.2.7"), "somewhere"),
    ],
)
def test_a_client_is_who_the_nearest_trusted_proxies_say(
    peer: str, header: tuple[str, str] | None, client: str
) -> None:
    name, headers = (header[0], [header]) if header else ("x-forwarded-for", [])
    assert Proxies(PROXIES, name.lower()).client_of(asked(peer, *headers)) == client


@pytest.mark.parametrize(
    ("header", "client"), [("x-forwarded-for", "192.0.2.1"), ("forwarded", "192.0.2.2")]
)
def test_only_the_header_that_the_proxies_write_is_looked_at(header: str, client: str) -> None:
    both = (("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.2"))
    proxies = Proxies(PROXIES, header)
    assert proxies.client_of(asked("10.0.0.1:5", *both)) == client
    only_other = [pair for pair in both if pair[0].lower() != header]
    assert proxies.client_of(asked("10.0.0.1:5", *only_other)) == "10.0.0.1:5"


def test_a_chain_of_proxies_without_end_is_not_followed() -> None:
    endless = ("X-Forwarded-For", "192.0.2.1, " + ", ".join(["10.0.0.2"] * 5000))
    assert Proxies(PROXIES).client_of(asked("10.0.0.1:5", endless)) == "10.0.0.2"


def test_no_network_holds_what_is_no_address() -> None:
    assert not is_among("", PROXIES) and not is_among("10.0.0.1", ())
    assert is_among("10.1.2.3:4", PROXIES)
