"""Who may come in, beside what a token or a signature proves: networks and credentials.

Both are settings and off by default: `allow` names the networks that may ask anything but /health,
`answer_auth` and `stream_auth` what has to stand in the header `Authorization`. MiniVoice documents
neither the addresses that it calls from nor that it sends credentials; a proxy in front may.

Behind a proxy that `trusted_proxies` names, the address is the client's (`net/proxies.py`). Read
next: `live_streams.py`.
"""

from __future__ import annotations

import base64
import hmac

from minivoice_ref.config import Config
from minivoice_ref.net.http import Headers, Request
from minivoice_ref.net.proxies import is_among
from minivoice_ref.protocol.errors import RemoteProtocolError

__all__ = ["Entry", "NotWelcome", "check_credentials"]


class NotWelcome(RemoteProtocolError):
    """Whoever asks may not: from there (403), or not without the right credentials (401)."""

    def __init__(self, why: str, status: int, headers: Headers = ()) -> None:
        super().__init__(why, status=status)
        self.headers = headers


class Entry:
    """Checks requests by the settings. Each check raises NotWelcome."""

    def __init__(self, config: Config) -> None:
        self._networks = config.allowed_networks
        self._answer = config.answer_auth
        self._stream = config.stream_auth

    def check_network(self, request: Request) -> None:
        """Check that the request comes from where it may."""
        if self._networks and not is_among(request.peer, self._networks):
            raise NotWelcome("its address is in none of the networks that `allow` names", 403)

    def check_answer(self, request: Request) -> None:
        """Check the credentials of a request to answer_url."""
        check_credentials(request, self._answer)

    def check_stream(self, request: Request) -> None:
        """Check the credentials of a stream's upgrade."""
        check_credentials(request, self._stream)


def check_credentials(request: Request, wanted: str | None) -> None:
    """Check that a request shows what is *wanted*, `Basic USER:PASSWORD` or `Bearer TOKEN`.

    In constant time, whatever of it was given. None wants nothing. Raises NotWelcome (401).
    """
    if wanted is None:
        return
    kind, _, secret = wanted.partition(" ")
    scheme, _, given = (request.header("authorization") or "").partition(" ")
    shown = _basic(given.strip()) if kind == "Basic" else given.strip().encode("latin-1")
    is_good = hmac.compare_digest(shown, secret.encode())
    if not is_good or scheme.lower() != kind.lower():
        challenge = 'Basic realm="minivoice"' if kind == "Basic" else kind
        why = "its credentials are wrong" if given else "it has no credentials"
        raise NotWelcome(why, 401, (("WWW-Authenticate", challenge),))


def _basic(given: str) -> bytes:
    try:
        return base64.b64decode(given, validate=True)
    except ValueError:
        return b""
