"""Makes the screenshots of the console: real calls, a real browser.

    python tests/browser/make_screenshots.py docs/console

Those that the README shows are made each time; with `--all` each view comes in both themes and at
three sizes as well, empty, busy and broken, for whoever changes how the page looks.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from browser_lab import CHROMIUM, Receiver

from minivoice_ref.certificates import make_certificates
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.faults import parse_fault

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_SIZES = {"wide": (1440, 900), "tablet": (820, 1100), "phone": (390, 844)}
_IN_README = ("calls-light", "call-dark", "broken-light")
_THEMES = ("light", "dark")
_DIALECTS = ("twilio", "telnyx", "plivo", "jambonz", "vonage", "asterisk", "bandwidth")
_FAULTS = ("cut=2", "wrong-token", "lose=20", "unknown=10", "oversized", "no-stop")


def _plan(receiver: Receiver, number: int, speak: float, *faults: str) -> CallPlan:
    chance = random.Random(number)
    ours = f"+1555123{chance.randrange(10000):04}"
    theirs = f"+4420794{chance.randrange(100000):05}"
    return CallPlan(
        answer_url=receiver.urls["answer"],
        webhook_url=receiver.urls["webhooks"],
        speak=speak,
        dialect=_DIALECTS[number % len(_DIALECTS)] if number else "twilio",
        from_number=theirs if number % 3 else ours,
        to_number=ours if number % 3 else theirs,
        direction="inbound" if number % 3 else "outbound",
        faults=tuple(parse_fault(fault) for fault in faults),
        seed=number,
        call_id=f"call_20260529T12{number // 60:02}{number % 60:02}.{chance.randrange(10**9):09}",
    )


@contextmanager
def _calls(receiver: Receiver, plans: list[CallPlan]) -> Iterator[None]:
    """Have calls going on while the block runs."""
    tokens: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []
    begun = threading.Event()

    async def run() -> None:
        with trio.CancelScope() as scope:
            tokens.append((trio.lowlevel.current_trio_token(), scope))
            begun.set()
            await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as nursery:
                for plan in plans:
                    nursery.start_soon(partial(place_call, plan, connect=receiver.connect()))
                    await trio.sleep(0.12)

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    begun.wait()
    yield
    try:
        tokens[0][0].run_sync_soon(tokens[0][1].cancel)
    except trio.RunFinishedError:
        pass
    thread.join()


class Camera:
    """Takes pictures of views, at the sizes and in the themes that are wanted."""

    def __init__(self, browser: Browser, folder: Path, every: bool) -> None:
        self._browser = browser
        self._folder = folder
        self.every = every

    def take(self, name: str, url: str, *, full: bool = False, click: str = "") -> None:
        """Open *url* and take its picture once it stands still enough."""
        for size in _SIZES if self.every else ["wide"]:
            for theme in _THEMES:
                if not self.every and f"{name}-{theme}" not in _IN_README:
                    continue
                self._one(name, url, size, theme, full, click)

    def _one(self, name: str, url: str, size: str, theme: str, full: bool, click: str) -> None:
        width, height = _SIZES[size]
        page: Page = self._browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
        )
        page.goto(url)
        page.wait_for_timeout(4000)
        if click:
            page.locator(click).first.click()
            page.wait_for_timeout(700)
        page.screenshot(path=self._folder / f"{name}-{size}-{theme}.png", full_page=full)
        page.close()


def _take_all(camera: Camera, receiver: Receiver) -> None:
    camera.take("empty", f"{receiver.console}#/calls")
    done = [_plan(receiver, number, 5, fault) for number, fault in enumerate(_FAULTS, 1)]
    talk = _plan(receiver, 0, 200)
    lossy = _plan(receiver, 8, 200, "lose=4")
    with _calls(receiver, [*done, lossy, *(_plan(receiver, n, 200) for n in (9, 12, 13)), talk]):
        threading.Event().wait(16)
        camera.take("calls", f"{receiver.console}#/calls")
        call = f"{receiver.console}#/call/{talk.call_id}"
        camera.take("call", call, full=True, click="text=Whole call")
        camera.take("lossy", f"{receiver.console}#/call/{lossy.call_id}", full=True)
        camera.take("broken", f"{receiver.console}#/call/{done[0].call_id}", full=True)
        camera.take("test", f"{receiver.console}#/test", click="summary")
        camera.take("actions", f"{receiver.console}#/actions", click="text=A bad one")
    if not camera.every:
        return
    with _calls(receiver, [_plan(receiver, number, 120) for number in range(20, 70)]):
        threading.Event().wait(9)
        camera.take("busy", f"{receiver.console}#/calls")
        camera.take("logs", f"{receiver.console}#/logs")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="every size and theme")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        files = make_certificates(folder / "certificates")
        with Receiver(folder / "data", files, "--console-test-calls") as receiver:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--font-render-hinting=none"]
            )
            _take_all(Camera(browser, arguments.folder, arguments.all), receiver)
            browser.close()


if __name__ == "__main__":
    main()
