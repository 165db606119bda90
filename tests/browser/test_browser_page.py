"""The page itself: who may see it, what a peer can do to it, and how it behaves."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from browser_lab import Receiver, in_trio

from minivoice_ref.certificates import Certificates
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.websocket import open_connected

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytest_plugins = ("browser_fixtures",)

_VIEWS = ("calls", "logs", "test", "actions")
_EVIL = "<img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>"
_TOKEN = "a long token of this console"
_SELECTED = """() => {
  const area = document.activeElement;
  return area.value.slice(area.selectionStart, area.selectionEnd);
}"""


async def hostile_call(receiver: Receiver) -> None:
    """A call whose every text tries to be markup."""
    call = {"id": _EVIL, "status": _EVIL, "direction": _EVIL, "from": _EVIL, "to": _EVIL}
    event = {
        "event": f"call.{_EVIL}",
        "created_at": "2026-05-29T12:10:00Z",
        "call": call,
        "variables": {},
        "data": {},
    }
    await receiver.request("POST", receiver.urls["webhooks"], event)
    answer = await receiver.request("POST", receiver.urls["answer"], {"call": call})
    url = answer["actions"][0]["stream_url"]
    async with open_connected(
        url,
        connect=receiver.connect(),
        headers=(("X-Evil", _EVIL), ("User-Agent", _EVIL)),
        limits=Limits(),
        timeouts=Timeouts(),
    ) as socket:
        for message in (
            {"event": "connected", "protocol": _EVIL, "version": _EVIL},
            {
                "event": "start",
                "sequenceNumber": "1",
                "streamSid": _EVIL,
                "start": {
                    "streamSid": _EVIL,
                    "callSid": _EVIL,
                    "accountSid": _EVIL,
                    "tracks": ["inbound"],
                    "customParameters": {_EVIL: _EVIL},
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                },
            },
            {"event": _EVIL, "evil": _EVIL},
        ):
            await socket.send(json.dumps(message))


def test_whatever_a_peer_sends_stays_text(page: Page, receiver: Receiver) -> None:
    in_trio(partial(hostile_call, receiver))
    page.goto(f"{receiver.console}#/calls")
    row = page.locator(".call-row").first
    row.wait_for()
    assert _EVIL in (row.locator(".parties").text_content() or "")
    row.locator("a").click()
    page.get_by_text("Handshake as received").click()
    page.get_by_text("First messages, verbatim").click()
    page.get_by_role("heading", name="Unknown messages").click()
    handshake = page.locator(".headers").first.text_content() or ""
    assert _EVIL in handshake
    assert "onerror" in (page.locator(".paper pre").first.text_content() or "")
    page.goto(f"{receiver.console}#/logs")
    page.locator("[data-log=webhooks] li").first.wait_for()
    for view in _VIEWS:
        page.goto(f"{receiver.console}#/{view}")
        page.wait_for_load_state()
        assert page.locator("main img, main script, main iframe").count() == 0
    assert page.evaluate("window.harmed") is None


def test_the_page_loads_nothing_from_elsewhere(page: Page, receiver: Receiver) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for view in _VIEWS:
        page.goto(f"{receiver.console}#/{view}")
    page.get_by_text("Connected", exact=True).wait_for()
    assert asked and all(url.startswith(f"http://127.0.0.1:{receiver.port}/") for url in asked)


def test_the_two_faults_of_the_documented_bad_list_stand_at_their_places(
    page: Page, receiver: Receiver
) -> None:
    page.goto(f"{receiver.console}#/actions")
    page.get_by_text("Valid: the platform would run the whole list").wait_for()
    bad = {
        "actions": [
            {
                "type": "start_stream",
                "stream_url": "https://media.example.com/call",
                "track": "sideways",
            }
        ]
    }
    page.get_by_label("What your answer_url returns").fill(json.dumps(bad))
    page.get_by_text("Not valid: 2 problems").wait_for()
    places = page.locator(".problems .place").all_text_contents()
    assert places == ["actions[0].stream_url", "actions[0].track"]
    page.get_by_role("button", name="actions[0].track").click()
    assert page.evaluate(_SELECTED) == '"sideways"'


def test_the_place_of_a_fault_is_selected_or_what_should_hold_it(
    page: Page, receiver: Receiver
) -> None:
    page.goto(f"{receiver.console}#/actions")
    keyed = (
        '{"note, [{": ["\\"]}"],\n"actions": [{"hangup": {}},\n {"start_stream": {"track": 7} }]}'
    )
    page.get_by_label("What your answer_url returns").fill(keyed)
    page.get_by_role("button", name="actions[1].start_stream.track").click()
    assert page.evaluate(_SELECTED) == "7"
    page.get_by_role("button", name="actions[1].start_stream.stream_url").click()
    assert page.evaluate(_SELECTED) == '{"track": 7}'
    assert "line 3" in page.locator(".problems").first.inner_text()
    page.get_by_role("button", name="['note, [{']").click()
    assert page.evaluate(_SELECTED) == '["\\"]}"]'
    for torn in ('{"actions": [{"type"', "[", "", "7"):
        page.get_by_label("What your answer_url returns").fill(torn)
        page.get_by_role("button", name="the document").click()
        assert page.evaluate(_SELECTED) == torn


def test_the_page_finds_its_server_again_after_a_restart(
    page: Page, tmp_path: Path, certificates: Certificates
) -> None:
    with Receiver(tmp_path, certificates) as restarted:
        in_trio(partial(_deliver, restarted, "call_before"))
        page.goto(restarted.console)
        page.get_by_text("call_before").wait_for()
        restarted.stop()
        page.get_by_text("Not connected – trying again").wait_for()
        page.wait_for_function("() => getComputedStyle(document.querySelector('main')).opacity < 1")
        restarted.start()
        page.get_by_text("Connected", exact=True).wait_for()
        page.get_by_text("call_before").wait_for()
        in_trio(partial(_deliver, restarted, "call_after"))
        page.get_by_text("call_after").wait_for()


async def _deliver(receiver: Receiver, call_id: str) -> None:
    event = {
        "event": "call.created",
        "created_at": "2026-05-29T12:10:00Z",
        "call": {"id": call_id, "status": "dialing", "direction": "inbound"},
        "variables": {},
        "data": {},
    }
    await receiver.request("POST", receiver.urls["webhooks"], event)


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Receiver]:
    """A receiver whose console wants a token."""
    with Receiver(tmp_path_factory.mktemp("guarded"), certificates, token=_TOKEN) as running:
        yield running


def test_a_wrong_token_is_refused_and_the_right_one_opens_the_console(
    page: Page, context: BrowserContext, guarded: Receiver
) -> None:
    page.goto(guarded.console)
    page.get_by_label("Console token").fill("not the token")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("That is not the token of this console.").wait_for()
    assert context.cookies() == []
    page.get_by_label("Console token").fill(_TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Calls", exact=True).wait_for()
    page.get_by_text("Connected", exact=True).wait_for()
    (cookie,) = context.cookies()
    assert cookie.get("httpOnly") and cookie.get("secure") and cookie.get("sameSite") == "Strict"
    assert _TOKEN not in page.url and _TOKEN not in (cookie.get("value") or "")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Console token").wait_for()


def test_a_page_of_another_site_gets_nothing(
    page: Page, receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title>")
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{elsewhere.server_port}/")
        outcome = page.evaluate(
            """(url) => new Promise((resolve) => {
              const socket = new WebSocket(url);
              socket.onopen = () => resolve("open");
              socket.onclose = () => resolve("closed");
            })""",
            f"ws://127.0.0.1:{receiver.port}/console/feed",
        )
        assert outcome == "closed"
        read = page.evaluate(
            "(url) => fetch(url).then(() => 'read', () => 'refused')", receiver.console
        )
        assert read == "refused"
        elsewhere.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_keyboard_is_enough(page: Page, receiver: Receiver) -> None:
    in_trio(partial(_deliver, receiver, "call_by_keyboard"))
    page.goto(f"{receiver.console}#/calls")
    page.locator(".call-row", has_text="call_by_keyboard").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("call_by_keyboard")
    page.wait_for_function("() => document.querySelectorAll('.call-row').length === 1")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("In the debug order").wait_for()
    assert page.url.endswith("#/call/call_by_keyboard")
    # Whoever is read to goes on at the new view's heading.
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_the_way_past_the_bar_leads_to_the_content_of_the_same_view(
    page: Page, receiver: Receiver
) -> None:
    page.goto(f"{receiver.console}#/logs")
    page.get_by_role("heading", name="Three logs").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("heading", name="Three logs").wait_for()


@pytest.mark.parametrize("part", ["", "call", "call/%ZZ", "constructor", "nowhere/1"])
def test_an_address_that_names_no_view_leads_to_the_list(
    part: str, page: Page, receiver: Receiver
) -> None:
    page.goto(f"{receiver.console}#/{part}")
    page.get_by_role("heading", name="Calls", exact=True).wait_for()
    page.get_by_text("Connected", exact=True).wait_for()


def test_everything_that_can_be_used_has_a_name(page: Page, receiver: Receiver) -> None:
    in_trio(partial(_deliver, receiver, "call_named"))
    script = """() => [...document.querySelectorAll("a, button, input, select, textarea, canvas")]
      .filter((one) => one.checkVisibility())
      .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))
      .map((one) => one.outerHTML)"""
    for view in (*_VIEWS, "call/call_named"):
        page.goto(f"{receiver.console}#/{view}")
        page.get_by_role("heading", level=1).wait_for()
        assert page.evaluate(script) == []


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_screen_needs_no_scrolling_sideways(
    width: int, page: Page, receiver: Receiver
) -> None:
    in_trio(partial(hostile_call, receiver))  # its texts are long, and have no spaces in places
    page.set_viewport_size({"width": width, "height": 740})
    for view in (*_VIEWS, f"call/{quote(_EVIL, safe='')}"):
        page.goto(f"{receiver.console}#/{view}")
        page.get_by_role("heading", level=1).wait_for()
        if view.startswith("call/"):
            page.get_by_role("heading", name="Account").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_the_theme_is_the_systems_until_somebody_chooses(page: Page, receiver: Receiver) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(receiver.console)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Use the light theme").click()
    light = page.evaluate(background)
    assert dark != light
    page.reload()
    page.get_by_role("button", name="Use the dark theme").wait_for()
    assert page.evaluate(background) == light
