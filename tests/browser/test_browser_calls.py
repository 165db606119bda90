"""The console in a real browser: calls placed, watched, heard and explained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from browser_lab import Receiver

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

pytest_plugins = ("browser_fixtures",)

_STEPS = (
    "answer_valid",
    "url_is_wss",
    "connection_accepted",
    "media_arrived",
    "stream_closed",
    "call_result",
)
HEARD = """async (ear) => {
  const { sound } = await import("/console/static/listen.js");
  const samples = new Float32Array(1024);
  let most = 0;
  for (let n = 0; n < 600 && most < 0.01; n++) {
    sound.analysers[ear].getFloatTimeDomainData(samples);
    most = Math.max(most, ...samples.map(Math.abs));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return most;
}"""
_HEARD_WHILE_IT_SPEAKS = """async ([ear, track]) => {
  const { sound } = await import("/console/static/listen.js");
  const canvas = document.querySelector(`.track[data-track=${track}] canvas`);
  const samples = new Float32Array(1024);
  const before = Number(canvas.dataset.audible);
  let most = 0;
  for (let n = 0; n < 900 && Number(canvas.dataset.audible) < before + 80; n++) {
    sound.analysers[ear].getFloatTimeDomainData(samples);
    if (n > 20) most = Math.max(most, ...samples.map(Math.abs));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return Number(canvas.dataset.audible) < before + 80 ? "it did not speak" : most;
}"""


def place_call(
    page: Page, receiver: Receiver, *, speak: float, fault: str = "", microphone: bool = False
) -> None:
    """Order a test call at the form, and go to watch it."""
    order_call(page, receiver, speak=speak, fault=fault, microphone=microphone)
    page.get_by_role("link", name="Watch the call").click()


def order_call(
    page: Page, receiver: Receiver, *, speak: float, fault: str = "", microphone: bool = False
) -> None:
    """Order a test call at the form."""
    page.goto(f"{receiver.console}#/test")
    page.get_by_label("Seconds of speech").fill(str(speak))
    if fault:
        name, _, value = fault.partition("=")
        page.get_by_text("Let something go wrong").click()
        page.locator(f"[data-fault={name}]").check()
        page.locator("li", has=page.locator(f"[data-fault={name}]")).locator(
            "input[type=number]"
        ).fill(value)
    if microphone:
        page.get_by_label("Speak yourself").check()
    page.get_by_role("button", name="Place the call").click()


def hang_up(page: Page, receiver: Receiver) -> None:
    """End the call that was ordered last, by the form's button."""
    page.goto(f"{receiver.console}#/test")
    page.get_by_role("button", name="Hang up").click()
    page.get_by_text("Passed", exact=True).wait_for()


def step(page: Page, name: str, state: str) -> Locator:
    return page.locator(f".steps [data-step={name}][data-state={state}]")


def wave(page: Page, track: str) -> Locator:
    return page.locator(f".track[data-track={track}] canvas")


def audible(page: Page, track: str) -> int:
    return int(wave(page, track).get_attribute("data-audible") or 0)


def wait_for_wave(page: Page, track: str, what: str, more_than: int) -> None:
    """Wait until a figure of a track's waveform is large enough."""
    script = """([track, what, least]) => {
      const canvas = document.querySelector(`.track[data-track=${track}] canvas`);
      return Number(canvas?.dataset[what]) > least;
    }"""
    page.wait_for_function(script, arg=[track, what, more_than])


def test_a_test_call_from_the_page_turns_its_six_steps_green(
    page: Page, receiver: Receiver
) -> None:
    place_call(page, receiver, speak=4)
    step(page, "media_arrived", "ok").wait_for()
    page.get_by_text("Live", exact=True).wait_for()
    for track in ("inbound", "outbound"):
        wave(page, track).wait_for()
    for name in _STEPS:
        step(page, name, "ok").wait_for()
    page.get_by_text("Good", exact=True).wait_for()
    assert page.locator(".steps > li").count() == 6
    # The agent speaks first: that is to be seen, drawn and not only known.
    page.get_by_text(re.compile("Inbound left, outbound right")).wait_for()
    for track in ("inbound", "outbound"):
        assert int(wave(page, track).get_attribute("data-bins") or 0) >= 150
        assert wave(page, track).get_attribute("data-gaps") == "0"
    assert audible(page, "outbound") > 50
    assert _is_drawn(wave(page, "outbound"))


def _is_drawn(canvas: Locator) -> bool:
    """Whether there is more on a canvas than the line in its middle."""
    script = """(canvas) => {
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
      const rows = new Set();
      for (let at = 3; at < data.length; at += 4) {
        if (data[at]) rows.add(Math.floor(at / 4 / width));
      }
      return rows.size;
    }"""
    rows: int = canvas.evaluate(script)
    return rows > 10


def test_both_tracks_are_drawn_while_they_arrive_and_can_be_heard(
    page: Page, receiver: Receiver
) -> None:
    place_call(page, receiver, speak=120)
    page.get_by_role("button", name="Listen", exact=True).click()
    page.get_by_text(re.compile("Listening, [0-9]+ ms behind")).wait_for()
    for ear, track in enumerate(("inbound", "outbound")):
        assert page.evaluate(HEARD, ear) >= 0.01
        wait_for_wave(page, track, "audible", 50)
        assert _is_drawn(wave(page, track))
    page.get_by_role("button", name="Mute outbound").click()
    page.get_by_role("button", name="Mute outbound", pressed=True).wait_for()
    assert page.evaluate(_HEARD_WHILE_IT_SPEAKS, [1, "outbound"]) == 0
    page.get_by_role("button", name="Stop listening").click()
    page.get_by_role("button", name="Listen", exact=True).wait_for()
    hang_up(page, receiver)
    page.goto(f"{receiver.console}#/logs")
    page.locator("[data-log=streams]", has_text="listening_ended").first.wait_for()


def test_what_happened_before_the_shown_seconds_is_a_click_away(
    page: Page, receiver: Receiver
) -> None:
    place_call(page, receiver, speak=120)
    lane = page.locator(".lane[data-log=webhooks]")
    lane.get_by_role("button", name="2 earlier, show the whole call").click()
    lane.get_by_text("call.created, call.answered").wait_for()
    page.get_by_role("button", name="Whole call", pressed=True).wait_for()
    hang_up(page, receiver)


def test_a_stream_that_is_cut_is_explained_with_its_code_and_what_to_do(
    page: Page, receiver: Receiver
) -> None:
    place_call(page, receiver, speak=10, fault="cut=1")
    failed = step(page, "stream_closed", "fail")
    failed.wait_for()
    assert "MV-501" in failed.inner_text() and "What to do:" in failed.inner_text()
    step(page, "call_result", "ok").wait_for()
    page.goto(f"{receiver.console}#/calls")
    row = page.locator(".call-row", has_text="MV-501").first
    row.wait_for()
    assert row.locator("[data-step=stream_closed]").get_attribute("data-state") == "fail"


def test_a_gap_is_marked_where_it_is(
    page: Page, context: BrowserContext, receiver: Receiver
) -> None:
    form = context.new_page()
    order_call(form, receiver, speak=120, fault="lose=30")
    watched = form.get_by_role("link", name="Watch the call").get_attribute("href")
    page.goto(f"{receiver.console}{watched}")
    lost = page.locator(".account [data-bad]").first
    lost.wait_for()
    assert re.search("[1-9]", lost.inner_text())
    # The log tells of the first fifty only; the others are seen by whoever watches, and stay.
    page.get_by_text("the log tells of the first 50").wait_for()
    wait_for_wave(page, "inbound", "gaps", 60)
    form.get_by_role("button", name="Hang up").click()
    step(page, "call_result", "ok").wait_for()
    page.get_by_text(re.compile("Inbound left, outbound right")).wait_for()
    assert int(wave(page, "inbound").get_attribute("data-gaps") or 0) > 60
    assert re.search("gap.*× [0-9]", page.locator(".events").inner_text())


def test_the_microphone_is_the_callers_voice(page: Page, receiver: Receiver) -> None:
    place_call(page, receiver, speak=120, microphone=True)
    # Chromium's fake device beeps once a second.
    wait_for_wave(page, "inbound", "audible", 20)
    hang_up(page, receiver)


def test_the_recording_plays_seeks_and_downloads(page: Page, receiver: Receiver) -> None:
    place_call(page, receiver, speak=6)
    step(page, "call_result", "ok").wait_for()
    play = page.get_by_role("button", name="Play the recording")
    page.locator("input[type=range]:enabled").wait_for()
    canvas = wave(page, "outbound")
    box = canvas.bounding_box()
    assert box is not None
    canvas.click(position={"x": box["width"] * 0.1, "y": 20})
    place = page.get_by_label("Place in the recording")
    assert float(place.input_value()) > 0.1
    play.click()
    page.get_by_role("button", name="Pause the recording").wait_for()
    place.focus()
    before = float(place.input_value())
    page.keyboard.press("Home")
    assert float(place.input_value()) < before
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    with open(download.value.path(), "rb") as file:
        assert file.read(4) == b"RIFF"
