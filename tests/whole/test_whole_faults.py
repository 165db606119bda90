"""Every fault of the simulator against our own receiver: it survives, and its logs say what was.

Both are the real ones, over memory streams and in virtual time; the disk's work is done inline.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from minivoice_ref import App, Config, MediaStream, serve
from minivoice_ref.certificates import make_certificates
from minivoice_ref.config import Timeouts
from minivoice_ref.net.tls import client_context
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.server import Server
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.faults import FAULTS, parse_fault
from minivoice_ref.simulator.report import CallReport
from minivoice_ref.testing import MemoryNetwork, living_tasks

Clock = trio.testing.MockClock

HOST = "receiver.test"
WALL = 1_780_000_000.0
SECRET = "the-secret-of-this-test"
Line = dict[str, Any]


def wall_clock() -> float:
    """Unix seconds that pass as virtual time does, for both sides."""
    return WALL + trio.current_time()


class Ear:
    """An application that keeps what it hears, each piece in its place."""

    def __init__(self) -> None:
        self._pieces: dict[str, dict[int, bytes]] = defaultdict(dict)

    async def listen(self, stream: MediaStream) -> None:
        async for frame in stream:
            self._pieces[frame.track][frame.position] = frame.payload

    def heard(self) -> dict[str, bytes]:
        """All audio of each track, in the order of its places."""
        return {
            track: b"".join(payload for _, payload in sorted(pieces.items()))
            for track, pieces in self._pieces.items()
        }


class Outcome:
    """What one call left behind at either side."""

    def __init__(self, report: CallReport, ear: Ear, data: Path) -> None:
        self.report = report
        self.ear = ear
        self._data = data

    def lines(self, log: str, what: str) -> list[Line]:
        """The lines of one kind in one of the receiver's logs."""
        path = self._data / f"{log}.jsonl"
        lines: list[Line] = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]

    def line(self, log: str, what: str) -> Line:
        """The only line of one kind."""
        (line,) = self.lines(log, what)
        return line

    @property
    def account(self) -> Line:
        """The sums of the stream, as its last line has them."""
        return self.line("streams", "account")


async def call(
    tmp_path: Path, *faults: str, network: MemoryNetwork | None = None, **settings: Any
) -> Outcome:
    """One call with *faults* at a whole receiver of our own, which is drained afterwards."""
    network = network or MemoryNetwork()
    ear = Ear()
    given: dict[str, Any] = {
        "listen": f"{HOST}:443",
        "plain": True,
        "insecure": True,
        "webhook_secret": SECRET,
    }
    config = Config(**given | settings, data=tmp_path)

    async with trio.open_nursery() as nursery:
        run = partial(serve, listen=network.listen, disk=InlineDisk, clock=wall_clock)
        server: Server = await nursery.start(run, App(on_stream=ear.listen), config)
        plan = CallPlan(
            answer_url=server.urls.answer,
            webhook_url=server.urls.webhooks,
            webhook_secret=SECRET,
            speak=2.0,
            expect_stream=True,
            keep_audio=True,
            seed=3,
            faults=tuple(map(parse_fault, faults)),
        )
        report = await place_call(plan, connect=network.connect, clock=wall_clock)
        server.stop()
    return Outcome(report, ear, tmp_path)


def all_is_there(outcome: Outcome) -> None:
    """Sample for sample what was sent is what the application heard, and the account says so."""
    (stream,) = outcome.report.streams
    assert outcome.ear.heard() == stream.audio and len(stream.audio["inbound"]) > 0
    for track, sums in outcome.account["tracks"].items():
        assert (sums["received"], sums["lost"]) == (stream.sent[track].samples, 0)


def stopped(outcome: Outcome) -> None:
    """The stream ended as it should, with all that was sent."""
    all_is_there(outcome)
    assert outcome.line("streams", "disconnected")["how"] == "stopped"


def broke(outcome: Outcome) -> None:
    """The stream vanished from under the receiver; what came before is there."""
    all_is_there(outcome)
    end = outcome.line("streams", "disconnected")
    assert (end["how"], end["close_code"], end["by"]) == ("closed", 1006, "platform")


def given_up(outcome: Outcome) -> None:
    """The call ended, and its stream, which had said nothing for long, with it."""
    all_is_there(outcome)
    assert outcome.line("streams", "disconnected")["how"] == "call_ended"
    assert [finding.ok for finding in outcome.report.findings] == [True]


def closed_unstopped(outcome: Outcome) -> None:
    all_is_there(outcome)
    end = outcome.line("streams", "disconnected")
    assert (end["how"], end["close_code"], end["by"]) == ("closed", 1000, "platform")


def closed_by_us(outcome: Outcome) -> None:
    stopped(outcome)
    assert [finding.ok for finding in outcome.report.findings] == [True]


def some_lost(outcome: Outcome) -> None:
    (stream,) = outcome.report.streams
    assert outcome.lines("streams", "gap")
    assert outcome.ear.heard() == stream.audio
    for track, sums in outcome.account["tracks"].items():
        assert sums["received"] == stream.sent[track].samples < 16000
        assert sums["received"] + sums["lost"] == sums["expected"] and sums["lost"] > 0


def repeated(outcome: Outcome) -> None:
    stopped(outcome)
    assert sum(sums["repeated"] for sums in outcome.account["tracks"].values()) > 0


def reordered(outcome: Outcome) -> None:
    stopped(outcome)
    assert sum(sums["late"] for sums in outcome.account["tracks"].values()) > 0


def started_properly(outcome: Outcome) -> None:
    stopped(outcome)
    started = outcome.line("streams", "started")
    assert started["format"] == "mulaw/8000/1" and "assumed" not in started


def not_understood(outcome: Outcome) -> None:
    stopped(outcome)
    assert len(outcome.lines("streams", "unknown")) == min(outcome.account["unknown"], 50) > 0


def too_big(outcome: Outcome) -> None:
    all_is_there(outcome)
    end = outcome.line("streams", "disconnected")
    assert (end["how"], end["close_code"]) == ("broken", 1009)
    assert outcome.report.streams[0].close_code == 1009


def nothing_unknown(outcome: Outcome) -> None:
    stopped(outcome)
    assert outcome.account["unknown"] == 0


def turned_away(outcome: Outcome) -> None:
    assert outcome.line("streams", "refused")["status"] == 403
    assert outcome.lines("streams", "open") == []
    assert outcome.report.streams[0].refused_with == 403


def forged_ones_refused(outcome: Outcome) -> None:
    stopped(outcome)
    assert [line["status"] for line in outcome.lines("webhooks", "refused")] == [401] * 3


def webhooks_came_first(outcome: Outcome) -> None:
    stopped(outcome)
    opened = outcome.line("streams", "open")["time"]
    accepted = {line["event"]: line["time"] for line in outcome.lines("webhooks", "accepted")}
    assert accepted["call.created"] <= accepted["call.answered"] < opened


def cut_after_the_end(outcome: Outcome) -> None:
    broke(outcome)
    completed = outcome.lines("webhooks", "accepted")[-1]
    assert completed["event"] == "call.completed"
    assert completed["time"] < outcome.line("streams", "disconnected")["time"]


def half_open_one_ended(outcome: Outcome) -> None:
    stopped(outcome)
    assert [finding.ok for finding in outcome.report.findings] == [True]
    assert outcome.lines("streams", "connection") or outcome.lines("streams", "refused")


SAID: dict[str, Callable[[Outcome], None]] = {
    "cut": broke,
    "vanish": given_up,
    "no-close": closed_by_us,
    "stall": stopped,
    "jitter": stopped,
    "lose": some_lost,
    "repeat": repeated,
    "reorder": reordered,
    "media-before-start": started_properly,
    "no-stop": closed_unstopped,
    "unknown": not_understood,
    "garbage": not_understood,
    "oversized": too_big,
    "binary": nothing_unknown,
    "slow-handshake": nothing_unknown,
    "half-open-tls": half_open_one_ended,
    "wrong-token": turned_away,
    "fragments": nothing_unknown,
    "ping-flood": nothing_unknown,
    "wrong-signature": forged_ones_refused,
    "stale-timestamp": forged_ones_refused,
    "webhook-first": webhooks_came_first,
    "webhook-at-cut": cut_after_the_end,
}


@pytest.mark.parametrize("name", FAULTS)
async def test_our_receiver_survives_each_fault_and_says_what_it_was(
    name: str, autojump_clock: Clock, tmp_path: Path
) -> None:
    before = living_tasks()
    # A stream takes 2 s of speech; a handshake that takes 2 s must leave some of it.
    text = {"slow-handshake": "slow-handshake=1"}.get(name, name)
    outcome = await call(tmp_path, text)
    assert outcome.report.passed, str(outcome.report)
    SAID[name](outcome)
    # The call's other channel noticed nothing, and nothing is left of it.
    accepted = [line["event"] for line in outcome.lines("webhooks", "accepted")]
    assert sorted(accepted) == ["call.answered", "call.completed", "call.created"]
    assert living_tasks() == before


async def test_a_stream_that_vanished_is_found_out_by_its_silence_while_the_call_goes_on(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    outcome = await call(tmp_path, "vanish=0.5", timeouts=Timeouts(silence=1.0))
    end = outcome.line("streams", "disconnected")
    assert (end["how"], end["close_code"]) == ("silent", 1008)
    assert outcome.report.passed, str(outcome.report)


async def test_tls_that_stops_half_way_is_ended_at_its_deadline(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    made = make_certificates(tmp_path / "certificates", [HOST])
    network = MemoryNetwork(client_context(made.ca))
    outcome = await call(
        tmp_path,
        "half-open-tls",
        network=network,
        plain=False,
        tls_cert=made.cert,
        tls_key=made.key,
    )
    stopped(outcome)
    assert outcome.report.passed, str(outcome.report)
    (finding,) = outcome.report.findings
    assert finding.seen == "the receiver ended the half-open connection after 5.0 s"
    assert outcome.lines("streams", "connection")


async def test_a_storm_of_faults_costs_no_sample(autojump_clock: Clock, tmp_path: Path) -> None:
    storm: tuple[str, ...] = (
        "jitter=100",
        "repeat=20",
        "reorder=20",
        "media-before-start",
        "unknown=20",
    )
    storm += ("garbage=20", "binary=20", "fragments=7", "ping-flood=5", "no-stop", "stall=0.5")
    outcome = await call(tmp_path, *storm, "wrong-signature", "stale-timestamp")
    assert outcome.report.passed, str(outcome.report)
    closed_unstopped(outcome)
