"""Who may look at calls, and listen to them.

Without `console_token` the console is open on loopback only: to whoever sits at this machine. That
means two things, both checked: the peer's address is a loopback one, and so is the host that it
asked for. The second is what keeps out a page of another site whose name was made to lead here.
Behind a proxy everybody comes from loopback, so the settings demand a token there (`config.py`).

With `console_token` whoever has the token may look, from anywhere: in the header `Authorization:
Bearer`, or typed once into the login page, which gives a session cookie in its place: HttpOnly,
Secure, SameSite=Strict, and good for twelve hours. It never stands in a URL.

A browser sends cookies, and comes from loopback, on behalf of any page that it shows. So the feed
and all that changes something want an `Origin` that is ours. Wrong tokens are counted, wherever
they stand, and after ten in a minute every token waits: none can be guessed by trying. Sessions go
on.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from minivoice_ref.net.http import Request, Response
from minivoice_ref.protocol.signing import BadToken, mint_token, read_token

__all__ = ["COOKIE", "Access"]

COOKIE = "minivoice_console"
_SESSION = 12 * 3600.0  # seconds
_SUBJECT = "console:session"
_MOST_WRONG = 10  # tokens in
_A_WHILE = 60.0  # seconds
_ONLY_LOOPBACK = (
    "the console is open on this machine only, as 127.0.0.1, [::1] or localhost; "
    "set console_token to open it to others"
)


class Access:
    """See above. *public_url* is another origin that is ours; *clock* tells Unix seconds."""

    def __init__(
        self, token: str | None, public_url: str | None, clock: Callable[[], float]
    ) -> None:
        self._token = token
        self._public = urlsplit(public_url).netloc if public_url is not None else None
        self._clock = clock
        self._wrong: deque[float] = deque(maxlen=_MOST_WRONG)

    @property
    def wants_token(self) -> bool:
        """Whether there is anything to log in with."""
        return self._token is not None

    def refuse(self, request: Request, *, acts: bool = False) -> Response | None:
        """The refusal that a request deserves, None where it is welcome.

        *acts* says that it does more than look at a page: it changes something, or opens the feed.
        """
        if self._token is None:
            if not _is_loopback(_host(request.peer)) or not _is_loopback(_host_asked(request)):
                return Response.problem(403, _ONLY_LOOPBACK)
        elif (given := _bearer(request)) is not None:
            return self._check(given)  # no browser adds this header by itself: it needs no origin
        elif not self._has_session(request):
            return Response.problem(401, headers=(("WWW-Authenticate", "Bearer"),))
        if acts and not self._is_our_origin(request):
            return Response.problem(403, "this came from a page of another site")
        return None

    def log_in(self, request: Request, given: str) -> Response:
        """Exchange the right token for a session; 401 for a wrong one, 429 after too many."""
        if self._token is None or not self._is_our_origin(request):
            return Response.problem(403)
        refusal = self._check(given)
        if refusal is not None:
            return refusal
        session = mint_token(self._token, _SUBJECT, self._clock() + _SESSION)
        return _set_cookie(session, int(_SESSION))

    def log_out(self) -> Response:
        """Have the browser forget its session."""
        return _set_cookie("", 0)

    def _check(self, given: str) -> Response | None:
        """The refusal that a token deserves, None for the right one."""
        now = self._clock()
        if len(self._wrong) == _MOST_WRONG and now - self._wrong[0] < _A_WHILE:
            return Response.problem(429, headers=(("Retry-After", str(int(_A_WHILE))),))
        if _same(given, self._token or ""):
            return None
        self._wrong.append(now)
        return Response.problem(401, headers=(("WWW-Authenticate", "Bearer"),))

    def _has_session(self, request: Request) -> bool:
        try:
            read = read_token([self._token or ""], _cookie(request), now=self._clock())
        except BadToken:
            return False
        return read.subject == _SUBJECT

    def _is_our_origin(self, request: Request) -> bool:
        """Whether the page that asks is ours: of the host that was asked, or of the public URL."""
        origin = request.header("origin") or ""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        ours = {(request.header("host") or "").lower(), self._public} - {"", None}
        return parts.scheme in ("http", "https") and parts.netloc.lower() in ours


def _cookie(request: Request) -> str:
    """The value of our cookie, empty where there is none.

    Ours needs no quotes, so none are understood: http.cookies takes a second for some of a
    stranger's (quadratic time in the backslashes), and with it every live call.
    """
    for part in (request.header("cookie") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _set_cookie(session: str, seconds: int) -> Response:
    cookie = f"{COOKIE}={session}; Path=/console; Max-Age={seconds}"
    secure = f"{cookie}; HttpOnly; Secure; SameSite=Strict"
    return Response(303, b"", (("Location", "/console/"), ("Set-Cookie", secure)))


def _bearer(request: Request) -> str | None:
    """The token in the header, None where there is none of that kind."""
    kind, _, given = (request.header("authorization") or "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else None


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode()) and bool(secret)


def _host(address: str) -> str:
    """The host of `127.0.0.1:8443`, `[::1]:8443` or `localhost`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0]


def _host_asked(request: Request) -> str:
    return _host(request.header("host") or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
