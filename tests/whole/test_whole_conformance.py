"""The whole conformance suite: at our own receiver, with two answers, and at a naive one.

The default answer and the naive receiver are tried over real sockets and real TLS.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from minivoice_ref import App, Config, Server, serve
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.simulator import fault_ends
from minivoice_ref.simulator.call import CallPlan
from minivoice_ref.simulator.conformance import ConformancePlan, run_conformance
from minivoice_ref.simulator.conformance_report import ConformanceReport
from minivoice_ref.simulator.faults import FAULTS
from minivoice_ref.simulator.scenarios import SCENARIOS
from minivoice_ref.testing import MemoryNetwork

pytest.importorskip("aiohttp")

SECRET = "the-secret-of-this-test"
EXAMPLE = Path(__file__).parents[2] / "examples" / "conformant.py"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def plan_of(base: str, *, jobs: int = 8) -> ConformancePlan:
    """Everything, to be tried on the application at *base*."""
    call = CallPlan(
        answer_url=f"{base}/answer",
        webhook_url=f"{base}/webhooks",
        webhook_secret=SECRET,
        speak=1.5,
        speech_programs=(),
        seed=1,
    )
    return ConformancePlan(call=call, jobs=jobs)


async def conformance(base: str, certificates: Certificates) -> ConformanceReport:
    """Try everything on the application at *base*."""
    plan = plan_of(base)
    connect = TcpConnector(client_context(certificates.ca), plan.call.timeouts)
    return await run_conformance(plan, connect=connect)


def outcomes(report: ConformanceReport, outcome: str) -> dict[str, str]:
    """What was seen in the scenarios with one outcome."""
    return {r.scenario.name: r.seen for r in report.results if r.outcome == outcome}


async def test_our_own_receiver_passes_all_that_applies(
    certificates: Certificates, tmp_path: Path
) -> None:
    config = Config(
        listen="127.0.0.1:0",
        tls_cert=certificates.cert,
        tls_key=certificates.key,
        webhook_secret=SECRET,
        data=tmp_path,
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(partial(serve, App(), config))
            report = await conformance(server.urls.base, certificates)
            server.stop()
    assert report.passed and not outcomes(report, "fail"), str(report)
    # Its default answer is one start_stream, typed, for both tracks.
    assert list(outcomes(report, "skip")) == [
        "track-inbound",
        "track-outbound",
        "form-keyed",
        "redirect-then-stop",
        "stop-keeps-call",
    ]
    assert len(report.results) == len(SCENARIOS) > len(FAULTS)


async def test_our_own_receiver_passes_every_scenario_where_the_answer_leaves_none_out(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The application of `examples/conformant.py`, over memory streams and in virtual time."""
    network = MemoryNetwork()

    app = App(runpy.run_path(str(EXAMPLE))["on_answer"])
    config = Config(
        listen="receiver.test:443", plain=True, insecure=True, webhook_secret=SECRET, data=tmp_path
    )
    async with trio.open_nursery() as nursery:
        run = partial(serve, listen=network.listen, disk=InlineDisk)
        server: Server = await nursery.start(run, app, config)
        plan = plan_of(server.urls.base, jobs=len(SCENARIOS))
        report = await run_conformance(plan, connect=network.connect)
        server.stop()
    assert not outcomes(report, "fail") and not outcomes(report, "skip"), str(report)
    assert list(outcomes(report, "pass")) == list(SCENARIOS) and report.passed
    # Whatever an action's form, its token is in no log.
    lines = map(json.loads, (tmp_path / "answers.jsonl").read_text().splitlines())
    urls = [action.get("stream_url") for line in lines for action in line["actions"]]
    assert urls.count(None) > 40  # redirects and stops
    assert all(re.search(r"/stream/.{6}…$", url) for url in urls if url is not None)


@pytest.fixture
def naive(certificates: Certificates, tmp_path: Path) -> Iterator[str]:
    """Where a naive receiver listens."""
    program = Path(__file__).with_name("naive_receiver.py")
    command = [sys.executable, *map(str, (program, certificates.cert, certificates.key, tmp_path))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield f"https://localhost:{int(process.stdout.readline())}"
        process.kill()


#: What the naive receiver gets wrong, and a word of what is seen of it.
WRONG = {
    "answer-get": "405",  # it takes a POST only
    "duplicate-webhooks": "answered 500",  # it has forgotten the call by then
    "reordered-webhooks": "only at attempt 2",  # it counts on call.created to come first
    "unsigned-webhooks": "200",
    "wrong-signature": "200",
    "stale-timestamp": "200",
    "wrong-token": "accepted that should have been refused",
    "vanish": "still held the connection",  # it never pings
    "no-close": "left the connection open",
    "half-open-tls": "still held it half open",  # for a minute, as its framework does
    "media-before-start": "before it was stopped",  # no file is open yet
    "unknown": "before it was stopped",  # a message without "event"
    "garbage": "the stream ended with",  # text that is no JSON
}


async def test_a_naive_receiver_fails_what_it_gets_wrong_and_nothing_else(
    naive: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_ends, "_PATIENCE", 5.0)  # it would never notice
    with trio.fail_after(60):
        report = await conformance(naive, certificates)
    failed = outcomes(report, "fail")
    assert set(failed) == set(WRONG), str(report)
    for name, word in WRONG.items():
        assert word in failed[name], name
    assert not report.passed
