"""Which values of the settings can work, and together: every problem, with its mend.

What the settings are stands in `config.py`; this module looks at a whole `Config`, before anything
is opened. Networks and addresses are text in the settings, and are read here.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from minivoice_ref.config_cluster import read_cluster_url
from minivoice_ref.protocol.dialects.detect import ANY, DIALECTS
from minivoice_ref.protocol.errors import Problem

if TYPE_CHECKING:
    from minivoice_ref.config import Config

__all__ = ["Networks", "is_loopback", "problems", "read_networks", "split_address"]

Networks: TypeAlias = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

_ENCODINGS = ("mulaw", "alaw", "l16le", "l16be")
_TRACKS = ("inbound", "outbound", "both")
_SHORTEST_SECRET = 8  # characters; a shorter one would also be found in half of what is logged
_CHOICES = {
    "track": _TRACKS,
    "dialect": tuple(dict.fromkeys((*ANY, *DIALECTS))),
    "proxy_header": ("x-forwarded-for", "forwarded"),
    "l16": ("auto", "l16le", "l16be"),
    "one_channel": ("inbound", "outbound", "mixed"),
    "transport": ("fast", "simple"),
}
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AUTH_FORMS = "write `Basic USER:PASSWORD` or `Bearer TOKEN`"


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` as host and port; `[::1]:8443` loses its brackets. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def read_networks(text: str | None) -> Networks:
    """`10.0.0.0/8, 192.0.2.7` as networks; a single address is one, too. Raises ValueError."""
    names = [name.strip() for name in (text or "").split(",")]
    return tuple(ipaddress.ip_network(name, strict=False) for name in names if name)


def is_loopback(address: str) -> bool:
    """Whether a `HOST:PORT` can be reached from this machine only."""
    host = split_address(address)[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def problems(config: Config) -> Iterator[Problem]:
    """Everything about *config* that cannot work."""
    yield from _address_problems(config)
    yield from _tls_problems(config)
    yield from _exposure_problems(config)
    yield from _access_problems(config)
    yield from _sharing_problems(config)
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
    for group, prefix in ((config, ""), (config.limits, "limits."), (config.timeouts, "timeouts.")):
        for f in dataclasses.fields(group):
            value = getattr(group, f.name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if is_number and not 0 < value < float("inf"):
                problem = f"{value!r} is not a positive number"
                yield Problem(prefix + f.name, problem, f"it counts {f.metadata['help']}")


def _address_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with where we listen and how the platform reaches us."""
    for name in ("listen", "stream_listen", "console_listen"):
        address = getattr(config, name)
        if address is not None and not _is_address(address):
            mend = "write for example 127.0.0.1:8443 or [::]:8443"
            yield Problem(name, f"{address!r} is not HOST:PORT", mend)
    if config.metrics and not config.metrics_auth and (config.plain or config.public_url):
        problem = "is needed where a proxy may stand in front: behind it, everybody is on loopback"
        yield Problem("metrics_auth", problem, _AUTH_FORMS)
    if config.console and not config.console_token:
        yield from _open_console_problems(config)
    if config.public_url is not None and not _is_https_url(config.public_url):
        problem = f"{config.public_url!r} is not an https URL"
        yield Problem("public_url", problem, "write for example https://media.example.com")


def _sharing_problems(config: Config) -> Iterator[Problem]:
    """What several processes cannot do together."""
    if config.cluster is None:
        if config.publish_media:
            problem = "hands audio on through Redis, and no cluster names one"
            yield Problem("publish_media", problem, "set cluster to redis://HOST:PORT beside it")
        return
    try:
        read_cluster_url(config.cluster)
    except ValueError as exc:
        mend = "write for example redis://10.0.0.5:6379/0, and set cluster_password beside it"
        yield Problem("cluster", str(exc), mend)
    if config.token_key is None:
        problem = "is needed: a stream may come to another node than the one that gave the answer"
        yield Problem("token_key", problem, "set the same long random text on every node")
    if not _CLUSTER_NAME.fullmatch(config.cluster_name):
        problem = f"{config.cluster_name!r} cannot begin a key"
        yield Problem("cluster_name", problem, "use letters, digits, . _ and - alone")


def _open_console_problems(config: Config) -> Iterator[Problem]:
    """Why a console without a token would be open to others than this machine, or to nobody."""
    mend = "set it, or give the console a door of its own on loopback with console_listen"
    own = config.console_listen
    if own is None and (config.plain or config.public_url is not None):
        problem = "is needed where a proxy may stand in front: behind it, everybody is on loopback"
        yield Problem("console_token", problem, mend)
    elif own is not None and _is_address(own) and not is_loopback(own):
        yield Problem("console_token", f"is needed where {own} lets in other machines", mend)


def _is_address(address: str) -> bool:
    try:
        split_address(address)
    except ValueError:
        return False
    return True


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


def _exposure_problems(config: Config) -> Iterator[Problem]:
    """What would let anybody who reaches us listen in, or make up events."""
    if config.insecure:
        return
    mend = "or accept the risk with insecure"
    for name in ("listen", "stream_listen"):
        address = getattr(config, name)
        if address is None or not _is_address(address) or is_loopback(address):
            continue
        if config.plain:
            yield Problem(
                name,
                f"{address} lets in other machines, without TLS",
                f"give tls_cert and tls_key, or listen on loopback beside the proxy, {mend}",
            )
        if name == "listen" and config.webhook_secret is None:
            yield Problem(
                "webhook_secret",
                f"is needed where {address} lets in other machines: anybody could make up events",
                f"set it here and at the platform, {mend}",
            )


def _access_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with who may come in: secrets, credentials, networks."""
    secrets = [f.name for f in dataclasses.fields(config) if f.metadata.get("secret")]
    for name in secrets:
        secret = getattr(config, name)
        if secret is not None and len(secret) < _SHORTEST_SECRET:
            problem = f"is shorter than {_SHORTEST_SECRET} characters" if secret else "is empty"
            yield Problem(name, problem, "give a long random text or leave it unset")
    for name in ("answer_auth", "stream_auth", "metrics_auth"):
        kind, _, shown = (getattr(config, name) or "Bearer ok").partition(" ")
        good = (kind == "Bearer" and shown.strip()) or (kind == "Basic" and ":" in shown)
        if not good or not shown.isascii():
            yield Problem(name, "is neither of the two forms", _AUTH_FORMS)
    if config.webhook_secret is None and config.webhook_secret_previous is not None:
        problem = "is there, but no webhook_secret that came after it"
        yield Problem("webhook_secret_previous", problem, "set webhook_secret to the new one")
    for name in ("allow", "trusted_proxies"):
        try:
            read_networks(getattr(config, name))
        except ValueError as exc:
            yield Problem(name, str(exc), "write for example 192.0.2.0/24, 2001:db8::7")


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
