"""The figures for Prometheus, read by the official parser, over memory streams in virtual time."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from trio.testing import MockClock

from minivoice_ref.config import ConfigError, Limits
from minivoice_ref.console import open_console
from minivoice_ref.metrics import open_metrics
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.receiver.annex import together
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.media_stream import MediaStream

sys.path.insert(0, str(Path(__file__).parent.parent / "receiver"))

from receiver_lab import HOST, Lab, open_lab, patient, settings, webhook  # noqa: E402

DEPLOY = Path(__file__).parent.parent.parent / "examples" / "deploy"
SECRET = "Bearer let-me-see-the-figures"
GIVEN = {"Authorization": SECRET}


@asynccontextmanager
async def open_metrics_lab(
    folder: Path, app: App | None = None, **changes: Any
) -> AsyncIterator[Lab]:
    """Run a receiver with its metrics in memory for a block, then drain it."""
    config = settings(folder, **{"metrics": True, "metrics_auth": SECRET} | changes)
    async with open_lab(app or App(), config, annex=open_metrics) as lab:
        yield lab


async def figures(lab: Lab) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, in the order of their names."""
    response = await lab.request("GET", "/metrics", headers=GIVEN)
    assert response.status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parse_text(response.body.decode())
        for sample in family.samples
    }


async def test_a_stream_is_counted_while_it_goes_on_and_after_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_metrics_lab(tmp_path) as lab:
        assert (await figures(lab))["minivoice_streams",] == 0
        async with lab.stream("call_1") as caller:
            await caller.start()
            await caller.speak(10, "inbound", "outbound")
            await caller.frame(12)  # two pieces never came
            await trio.testing.wait_all_tasks_blocked()
            live = await figures(lab)
            await caller.stop()
        await trio.testing.wait_all_tasks_blocked()
        over = await figures(lab)
    assert (live["minivoice_streams",], over["minivoice_streams",]) == (1, 0)
    for found in (live, over):
        assert found["minivoice_frames_total", "inbound"] == 11
        assert found["minivoice_samples_total", "received", "inbound"] == 11 * 160
        assert found["minivoice_samples_total", "received", "outbound"] == 10 * 160
        assert found["minivoice_samples_total", "silence", "inbound"] == 2 * 160
        assert found["minivoice_lost_samples", "inbound"] == 2 * 160
        assert found["minivoice_gaps_total",] == 1
    assert ("minivoice_streams_ended_total", "stopped") not in live
    assert over["minivoice_streams_ended_total", "stopped"] == 1
    assert over["minivoice_stream_messages_total",] > live["minivoice_stream_messages_total",] > 20


async def test_an_on_stream_that_is_behind_can_be_seen(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def sleep(stream: MediaStream) -> None:
        await trio.sleep(100)

    calm = {"timeouts": patient()}
    async with open_metrics_lab(tmp_path, App(on_stream=sleep), **calm) as lab:
        async with lab.stream("call_1") as caller:
            await caller.start()
            await caller.speak(50)
            await trio.testing.wait_all_tasks_blocked()
            found = await figures(lab)
            await caller.stop()
    behind = found["minivoice_hand_over_seconds_count",]
    assert behind == found["minivoice_loop_lag_seconds_count",] >= 3
    assert found["minivoice_hand_over_seconds_bucket", "0.5"] < behind
    assert found["minivoice_hand_over_seconds_bucket", "1.0"] == behind
    assert found["minivoice_hand_over_seconds_sum",] > 1.2


async def test_webhooks_are_counted_by_event_and_outcome_and_timed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def refuse(event: Any) -> None:
        await trio.sleep(0.2)
        raise ValueError("not today")

    async with open_metrics_lab(tmp_path, App(on_event=refuse)) as lab:
        for event in ("call.answered", "call.answered", "call.something_new"):
            await lab.deliver(webhook(event))
        assert (await lab.request("POST", "/webhooks", body=b"no event")).status == 400
        await trio.sleep(0.5)
        found = await figures(lab)
    total = "minivoice_webhooks_total"
    assert found[total, "call.answered", "accepted"] == 1
    assert found[total, "call.answered", "duplicate"] == 1
    assert found[total, "other", "accepted"] == 1
    assert found[total, "other", "refused"] == 1
    assert found[total, "call.answered", "failed"] == 1
    assert found["minivoice_webhook_seconds_count",] == 3


async def test_answers_and_limits_are_counted(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_metrics_lab(tmp_path, limits=Limits(streams=1)) as lab:
        await lab.stream_url("call_2")
        async with lab.stream("call_1"):
            refused = await lab.request("GET", "/ready")
        found = await figures(lab)
    assert found["minivoice_answers_total", "answered"] == 2
    assert found["minivoice_answers_total", "failed"] == 0
    assert refused.status == 503 and b"limits.streams" in refused.body


async def test_the_figures_come_in_the_form_that_is_asked_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    asked = {**GIVEN, "Accept": "application/openmetrics-text; version=1.0.0"}
    async with open_metrics_lab(tmp_path) as lab:
        response = await lab.request("GET", "/metrics", headers=asked)
        assert (await lab.request("POST", "/metrics", headers=GIVEN)).status == 405
        assert (await lab.request("GET", "/metrics/more", headers=GIVEN)).status == 404
    families = parse_openmetrics(response.body.decode())  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert {"minivoice_build", "minivoice_streams", "minivoice_webhook_seconds"} <= names


async def test_who_does_not_show_what_is_wanted_sees_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    wrong = {"Authorization": "Bearer let-me-see-the-figurez"}
    async with open_metrics_lab(tmp_path) as lab:
        refused = [await lab.request("GET", "/metrics", headers=given) for given in ({}, wrong)]
    assert [response.status for response in refused] == [401, 401]
    assert all(b"minivoice_" not in response.body for response in refused)


@pytest.mark.parametrize("changes", [{"plain": True}, {"public_url": "https://voice.example.com"}])
def test_behind_a_proxy_the_figures_need_credentials(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(tmp_path, metrics=True, metrics_auth=None, **changes)
    assert "metrics_auth" in {problem.path for problem in refused.value.problems}


async def test_the_dashboard_shows_only_figures_that_there_are(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_metrics_lab(tmp_path) as lab:
        async with lab.stream("call_1") as caller:
            await caller.start()
            await caller.speak(1)
            await caller.stop()
        await lab.deliver(webhook())
        told = (await lab.request("GET", "/metrics", headers=GIVEN)).body.decode()
    families = list(parse_text(told))
    known = {sample.name for family in families for sample in family.samples}
    known |= {f"{family.name}_total" for family in families if family.type == "counter"}
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for text in shown for name in re.findall(r"minivoice_\w+", text)}
    assert len(shown) >= 10 and names <= known


async def test_the_console_and_the_figures_stand_beside_each_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    both = {"console": True, "console_token": "a token for the console"}
    config = settings(tmp_path, metrics=True, metrics_auth=SECRET, **both)
    annex = together(open_console, open_metrics)
    pages = ("/console/", "/console", "/metrics", "/metricses", "/health")
    async with open_lab(App(), config, annex=annex) as lab:
        async with lab.stream("call_1") as caller:
            await caller.start()
            await trio.testing.wait_all_tasks_blocked()
            found = await figures(lab)
            statuses = [(await lab.request("GET", page)).status for page in pages]
            with pytest.raises(UpgradeRefused):
                async with lab.stream(url=f"ws://{HOST}:80/metrics"):
                    pass
            await caller.stop()
    assert found["minivoice_streams",] == 1
    assert statuses == [303, 303, 401, 404, 200]  # a login page, credentials, nothing, all
