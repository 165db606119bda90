"""The fixtures of the tests in a real browser.

They need the extra `browser` and a Chromium. Where one is missing they are skipped, unless
`REQUIRE_BROWSER` is 1, as it is in the gate: then they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_lab import CHROMIUM, PATIENCE, Receiver

from minivoice_ref.certificates import Certificates, make_certificates

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_REQUIRED = os.environ.get("REQUIRE_BROWSER") == "1"


def _lacking() -> str | None:
    """What is missing for these tests; None where nothing is."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "the extra `browser` is not installed"
    return None if CHROMIUM is not None else "there is no Chromium; set CHROMIUM"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, with a microphone that beeps."""
    lacking = _lacking()
    if lacking is not None:
        (pytest.fail if _REQUIRED else pytest.skip)(lacking)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that knows nothing yet."""
    made = browser.new_context(viewport={"width": 1280, "height": 860}, permissions=["microphone"])
    made.set_default_timeout(PATIENCE * 1000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; whatever goes wrong in it, policy breaches included, fails the test."""
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on(
        "console",
        lambda message: wrong.append(message.text) if _is_breach(message.text) else None,
    )
    yield made
    assert wrong == []


def _is_breach(text: str) -> bool:
    return "Content Security Policy" in text or "Trusted" in text


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and a certificate for localhost."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def receiver(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Receiver]:
    """A receiver whose console places test calls, for all tests of a module."""
    data: Path = tmp_path_factory.mktemp("data")
    with Receiver(data, certificates, "--console-test-calls") as running:
        yield running
