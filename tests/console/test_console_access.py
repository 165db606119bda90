"""Who may look: loopback without a token, the token's bearer, a session; and nobody else's page."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
import trio.testing
from console_lab import ORIGIN, TOKEN, ConsoleLab, open_console_lab

from minivoice_ref.console.access import COOKIE, Access
from minivoice_ref.net.http import Request, Response
from minivoice_ref.net.upgrade import UpgradeRefused


def request(
    *headers: tuple[str, str], peer: str = "127.0.0.1:5000", host: str = "localhost:8443"
) -> Request:
    return Request("GET", "/console/", "/console/", "", (("Host", host), *headers), peer=peer)


def access(token: str | None = None, public_url: str | None = None, now: float = 0.0) -> Access:
    return Access(token, public_url, lambda: now)


def status(answer: Response | None) -> int | None:
    return answer.status if answer is not None else None


@pytest.mark.parametrize(
    ("peer", "host", "welcome"),
    [
        ("127.0.0.1:5000", "127.0.0.1:8443", True),
        ("127.0.0.1:5000", "localhost", True),
        ("[::1]:5000", "[::1]:8443", True),
        ("192.0.2.7:5000", "127.0.0.1:8443", False),
        ("127.0.0.1:5000", "rebound.example.com", False),  # a name that was made to lead here
        ("127.0.0.1:5000", "127.0.0.1.example.com", False),
        ("127.0.0.1:5000", "", False),
        ("", "localhost", False),
    ],
)
def test_without_a_token_only_this_machine_may_look(peer: str, host: str, welcome: bool) -> None:
    refusal = access().refuse(request(peer=peer, host=host))
    assert status(refusal) == (None if welcome else 403)


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("http://localhost:8443", True),
        ("https://localhost:8443", True),
        ("http://localhost:9999", False),
        ("http://evil.example.com", False),
        ("null", False),
        ("http://[", False),
        ("file://localhost:8443", False),
        (None, False),
    ],
)
def test_what_acts_must_come_from_a_page_of_ours(origin: str | None, welcome: bool) -> None:
    headers = () if origin is None else (("Origin", origin),)
    refusal = access().refuse(request(*headers), acts=True)
    assert status(refusal) == (None if welcome else 403)


def test_behind_a_proxy_the_public_origin_is_ours_as_well() -> None:
    public = ("Origin", "https://media.example.com")
    bearer = ("Cookie", f"{COOKIE}={session(access('a-token-of-ours'), 'a-token-of-ours')}")
    ours = access("a-token-of-ours", "https://media.example.com")
    assert ours.refuse(request(public, bearer), acts=True) is None
    assert status(access("a-token-of-ours").refuse(request(public, bearer), acts=True)) == 403


def session(ours: Access, token: str) -> str:
    """The session that the right token is exchanged for."""
    answer = ours.log_in(request(("Origin", "http://localhost:8443")), token)
    assert answer.status == 303 and answer.header("location") == "/console/"
    cookie = answer.header("set-cookie") or ""
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/console"):
        assert attribute in cookie
    return cookie.partition("=")[2].partition(";")[0]


def test_a_session_is_good_for_twelve_hours_and_for_this_token_only() -> None:
    value = session(access("a-token-of-ours"), "a-token-of-ours")
    cookie = ("Cookie", f"other=1; {COOKIE}={value}")
    assert access("a-token-of-ours").refuse(request(cookie)) is None
    assert status(access("a-token-of-ours", now=12 * 3600.0).refuse(request(cookie))) == 401
    assert status(access("another-token").refuse(request(cookie))) == 401


def test_a_cookie_of_a_strangers_making_is_read_in_no_time() -> None:
    """http.cookies would take seconds for it, quadratic in the backslashes."""
    ours = access("a-token-of-ours")
    good = f"{COOKIE}={session(ours, 'a-token-of-ours')}"
    hostile = request(("Cookie", 'a="' + "\\" * 1_000_000 + f'"; {good}'))
    began = time.process_time()
    assert ours.refuse(hostile) is None
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Cookie", f"{COOKIE}=forged"),),
        (("Cookie", "\x00=;;=; broken"),),
        (("Authorization", "Bearer wrong"),),
        (("Authorization", "Basic a-token-of-ours"),),
        (("Authorization", "Bearer"),),
    ],
)
def test_with_a_token_set_nobody_looks_without_it(headers: tuple[tuple[str, str], ...]) -> None:
    assert status(access("a-token-of-ours").refuse(request(*headers))) == 401


def test_the_header_needs_no_origin_because_no_browser_adds_it_by_itself() -> None:
    bearer = ("Authorization", "Bearer a-token-of-ours")
    assert access("a-token-of-ours").refuse(request(bearer, peer="192.0.2.1:1"), acts=True) is None


def test_after_ten_wrong_tokens_in_a_minute_the_right_one_has_to_wait_too() -> None:
    now = [0.0]
    ours = Access("a-token-of-ours", None, lambda: now[0])
    page = request(("Origin", "http://localhost:8443"))
    assert [ours.log_in(page, "guess").status for _ in range(11)] == [401] * 10 + [429]
    assert ours.log_in(page, "a-token-of-ours").status == 429
    now[0] = 61.0
    assert ours.log_in(page, "a-token-of-ours").status == 303


def test_wrong_tokens_count_in_the_header_too_and_sessions_go_on() -> None:
    ours = Access("a-token-of-ours", None, lambda: 0.0)
    page = request(("Origin", "http://localhost:8443"))
    cookie = (ours.log_in(page, "a-token-of-ours").header("set-cookie") or "").partition(";")[0]
    guess = request(("Authorization", "Bearer guess"))
    assert [status(ours.refuse(guess)) for _ in range(11)] == [401] * 10 + [429]
    assert status(ours.refuse(request(("Authorization", "Bearer a-token-of-ours")))) == 429
    assert ours.log_in(page, "a-token-of-ours").status == 429
    assert ours.refuse(request(("Cookie", cookie))) is None


def test_a_login_from_a_page_of_another_site_is_no_login() -> None:
    other = request(("Origin", "http://evil.example.com"))
    assert access("a-token-of-ours").log_in(other, "a-token-of-ours").status == 403
    assert access().log_in(request(("Origin", "http://localhost:8443")), "").status == 403


# --- the same, asked of the whole ---


async def log_in(lab: ConsoleLab, token: str, origin: str = ORIGIN) -> Response:
    return await lab.request(
        "POST",
        "/console/login",
        f"token={quote(token)}".encode(),
        {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin},
    )


async def test_the_page_leads_to_the_login_and_the_login_to_the_page(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        for path in ("/console", "/console/"):
            first = await lab.request("GET", path)
            assert (first.status, first.header("location")) == (303, "/console/login")
        assert b"Console token" in (await lab.request("GET", "/console/login")).body
        assert (await lab.request("GET", "/console/static/base.css")).status == 200
        wrong = await log_in(lab, "wrong")
        assert wrong.status == 401 and b"not the token" in wrong.body
        assert wrong.header("retry-after") is None
        right = await log_in(lab, TOKEN)
        cookie = (right.header("set-cookie") or "").partition(";")[0]
        page = await lab.request("GET", "/console/", headers={"Cookie": cookie})
        assert page.status == 200 and b"<main" in page.body
        assert (await lab.get("login")).status == 200
        assert (await lab.get("logout")).header("location") == "/console/"
        out = await lab.request(
            "POST", "/console/logout", b"", {"Cookie": cookie, "Origin": ORIGIN}
        )
        assert "Max-Age=0" in (out.header("set-cookie") or "")
        refused = await lab.lines("streams", "console_refused")
        assert [line["why"] for line in refused] == ["a login failed"]


async def test_whoever_tried_too_often_is_shown_that_he_has_to_wait(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        for _ in range(10):
            await log_in(lab, "wrong")
        waits = await log_in(lab, TOKEN)
        assert waits.status == 429 and b"Wait a minute" in waits.body
        assert waits.header("retry-after") == "60" and waits.header("set-cookie") is None
        await trio.sleep(61)
        assert (await log_in(lab, TOKEN)).status == 303


async def test_everything_carries_the_headers_that_keep_the_page_to_itself(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        for answer in (
            await lab.get(""),
            await lab.get("static/app.js"),
            await lab.get("nowhere"),
            await lab.request("GET", "/console/"),
            await lab.request("DELETE", "/console/"),
        ):
            policy = answer.header("content-security-policy") or ""
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert "require-trusted-types-for 'script'" in policy
            assert answer.header("cache-control") == "no-store"
            assert answer.header("x-content-type-options") == "nosniff"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("static/index.html", 404),
        ("static/../console.py", 400),
        ("static/nothing.js", 404),
        ("recordings/nobody", 404),
        ("elsewhere", 404),
        ("login", 200),
    ],
)
async def test_what_is_not_there_is_not_there(
    path: str, expected: int, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        assert (await lab.get(path)).status == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN},
        {"Authorization": "Bearer wrong", "Origin": ORIGIN},
        {"Cookie": f"{COOKIE}=forged", "Origin": ORIGIN},
    ],
)
async def test_the_feed_is_refused_to_strangers_and_the_log_says_so(
    headers: dict[str, str], tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        with pytest.raises(UpgradeRefused) as caught:
            async with lab.browser(**headers):
                pass
        assert caught.value.status == 403
        (refused,) = await lab.lines("streams", "console_refused")
        assert refused["status"] == 401 and refused["path"] == "/console/feed"
        assert refused["why"] == "Unauthorized"
        # It is no trouble of a call: `explain` must not find it.
        assert await lab.lines("streams", "connection") == []


async def test_the_feed_is_refused_to_a_page_of_another_site_though_the_cookie_comes_along(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        cookie = ((await log_in(lab, TOKEN)).header("set-cookie") or "").partition(";")[0]
        async with lab.browser(Cookie=cookie, Origin=ORIGIN) as browser:
            assert (await browser.until("hello"))["log_out"] is True
        with pytest.raises(UpgradeRefused):
            async with lab.browser(Cookie=cookie, Origin="http://evil.example.com"):
                pass


async def test_the_console_takes_nothing_from_the_receivers_own_paths(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        assert (await lab.request("GET", "/health")).status == 200
        assert (await lab.request("GET", "/consolation")).status == 404
        await lab.stream_url()


async def test_with_a_door_of_its_own_the_console_is_there_and_nowhere_else(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, console_listen="127.0.0.1:81") as lab:
        assert lab.server.urls.console == "http://127.0.0.1:81/console/"
        assert (await lab.get("")).status == 404
        async with lab.browser(at="127.0.0.1:81") as browser:
            await browser.until("hello")
        with pytest.raises(UpgradeRefused) as caught:
            async with lab.browser(at="127.0.0.1:81", Origin="http://127.0.0.1:81"):
                pass
        assert caught.value.status == 403


async def test_a_login_that_is_no_form_is_refused(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        answer = await lab.request(
            "POST", "/console/login", b"{}", {"Content-Type": "application/json", "Origin": ORIGIN}
        )
        assert answer.status == 415
        (refused,) = await lab.lines("streams", "console_refused")
        assert refused["status"] == 415


async def test_a_websocket_is_only_at_the_feed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab:
        with pytest.raises(UpgradeRefused) as caught:
            async with lab.browser(path="/console/"):
                pass
        assert caught.value.status == 404


async def test_trouble_at_a_door_of_its_own_is_told_without_what_it_was(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, console_listen="127.0.0.1:81") as lab:
        stream = await lab.network.connect("127.0.0.1", 81, False)
        await stream.send_all(b"nothing that is HTTP\r\n\r\n")
        await stream.receive_some()
        (line,) = await lab.lines("streams", "console_refused")
        assert line["kind"] == "refused" and line["status"] == 400
        assert "code" not in line
