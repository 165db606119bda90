"""The console of several workers in a real browser: a call of another worker, seen and heard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from browser_lab import Receiver
from test_browser_calls import HEARD, hang_up, place_call, wait_for_wave, wave

from minivoice_ref.certificates import Certificates

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ("browser_fixtures",)


def worker_of(page: Page) -> str:
    """The worker that the page is connected to."""
    page.get_by_role("link", name="Calls", exact=True).click()
    page.locator(".processes:visible").wait_for()
    found = re.fullmatch(r"at (worker-\d), with worker-\d", page.locator(".processes").inner_text())
    assert found is not None
    return found[1]


def test_a_call_of_another_worker_is_drawn_heard_and_played_as_one_of_its_own(
    page: Page, tmp_path: Path, certificates: Certificates
) -> None:
    options = ("--console-test-calls", "--workers", "2")
    with Receiver(tmp_path / "data", certificates, *options) as receiver:
        page.goto(receiver.console)
        here = worker_of(page)
        for _ in range(20):  # which worker gets the stream, the kernel chooses
            place_call(page, receiver, speak=120)
            chip = page.locator(".chips [data-node]")
            chip.wait_for()
            if chip.inner_text() != f"at {here}":
                break
            hang_up(page, receiver)
        for track in ("inbound", "outbound"):
            wait_for_wave(page, track, "audible", 50)
        page.get_by_role("button", name="Listen", exact=True).click()
        page.get_by_text(re.compile("Listening, [0-9]+ ms behind")).wait_for()
        for ear in (0, 1):
            assert page.evaluate(HEARD, ear) >= 0.01
        assert worker_of(page) == here
        row = page.locator(".call-row[data-live]")
        row.get_by_text("at worker-").wait_for()
        assert f"at {here}" not in row.inner_text()
        row.locator("a").click()
        watched = page.url
        hang_up(page, receiver)
        page.goto(watched)
        page.get_by_text("Good", exact=True).wait_for()
        page.get_by_text(re.compile("Inbound left, outbound right")).wait_for()
        assert int(wave(page, "outbound").get_attribute("data-bins") or 0) >= 150
