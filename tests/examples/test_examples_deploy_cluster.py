"""deploy/: the balancers before several nodes, each with the real program and real receivers."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from unittest.mock import ANY

import pytest
import trio
from deploy_cluster_lab import BALANCERS, Balanced, Behind, balanced
from deploy_lab import DEPLOY

from minivoice_ref import Limits, Timeouts, read_answer
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.http_messages import Response
from minivoice_ref.net.media_socket import MediaSocket, SocketClosed
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.report import CallReport

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)
CALLS = 9


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=BALANCERS)
def balancer(request: pytest.FixtureRequest) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)
        await trio.lowlevel.checkpoint()


async def call(behind: Balanced, files: Certificates, calls: int) -> list[CallReport]:
    """Place some calls at once; all of them have to pass."""
    plan = CallPlan(
        answer_url=f"{behind.url}/answer",
        webhook_url=f"{behind.url}/webhooks",
        webhook_secret=behind.webhook_secret,
        speak=1.0,
    )
    reports: list[CallReport] = []

    async def place() -> None:
        connect = TcpConnector(client_context(files.ca), Timeouts())
        reports.append(await place_call(plan, connect=connect))

    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(place)
    assert all(report.passed for report in reports), "\n".join(map(str, reports))
    return reports


async def ask(
    url: str, files: Certificates, method: str = "GET", body: bytes | None = None, **headers: str
) -> Response:
    return await fetch(
        method,
        url,
        headers=list(headers.items()),
        body=body,
        connect=TcpConnector(client_context(files.ca), Timeouts()),
        timeouts=Timeouts(),
        limits=Limits(),
    )


async def stream_url(behind: Balanced, files: Certificates) -> str:
    response = await ask(
        f"{behind.url}/answer?call_id=call_held", files, Forwarded="for=203.0.113.9"
    )
    (action,) = read_answer(response.body).actions
    assert action is not None
    return str(action.parameters["stream_url"])


@asynccontextmanager
async def held(url: str, files: Certificates) -> AsyncIterator[MediaSocket]:
    """A stream that has started and says nothing."""
    start = {
        "streamSid": "MZ1",
        "callSid": "call_held",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    async with open_connected(
        url,
        connect=TcpConnector(client_context(files.ca), Timeouts()),
        limits=Limits(),
        timeouts=Timeouts(),
    ) as opened:
        await opened.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
        yield opened


def calls_of(node: Behind) -> tuple[int, int]:
    """How many answers it gave, and how many streams it let in."""
    return len(node.lines("answers", "answered")), len(node.lines("streams", "open"))


async def ready(node: Behind, files: Certificates) -> int:
    return (await ask(f"http://127.0.0.1:{node.port}/ready", files)).status


async def test_calls_spread_over_the_nodes_and_any_of_them_takes_any_part_of_a_call(
    balancer: str, certificates: Certificates, tmp_path: Path
) -> None:
    with balanced(balancer, tmp_path, certificates, {}) as behind:
        reports = await call(behind, certificates, CALLS)
        base = behind.url.replace("https", "wss")
        assert all(report.streams[0].stream_url.startswith(base) for report in reports)
        assert (await ask(f"{behind.url}/metrics", certificates)).status == 404
        await stream_url(behind, certificates)
    answers, streams = (
        {
            line["call_id"]: number
            for number, node in enumerate(behind.nodes)
            for line in node.lines(log, what)
        }
        for log, what in (("answers", "answered"), ("streams", "account"))
    )
    assert set(answers.values()) == set(streams.values()) == {0, 1, 2}
    assert any(streams[call_id] != answers[call_id] for call_id in streams)
    for node in behind.nodes:
        for opened in node.lines("streams", "open"):
            headers = dict(opened["headers"])
            assert headers["x-forwarded-proto"] == "https"
            assert headers["x-forwarded-for"] == "127.0.0.1" and "forwarded" not in headers
        for answered in node.lines("answers", "answered"):
            assert answered["peer"].startswith("127.0.0.1")
            assert "203.0.113.9" not in json.dumps(answered)
        assert all(a["tracks"]["inbound"]["lost"] == 0 for a in node.lines("streams", "account"))
    tokens = [o["path"].split("/")[2][:6] for n in behind.nodes for o in n.lines("streams", "open")]
    logs = [path.read_text("utf-8") for path in tmp_path.glob("*.log")]
    assert len(tokens) == CALLS and not any(token in log for token in tokens for log in logs)


async def test_a_node_that_is_full_or_drains_gets_no_new_calls_and_keeps_its_streams(
    balancer: str, certificates: Certificates, tmp_path: Path
) -> None:
    with balanced(balancer, tmp_path, certificates, {"MINIVOICE_LIMITS_STREAMS": "1"}) as behind:
        full, drained, other = behind.nodes
        path = (await stream_url(behind, certificates)).partition("/stream/")[2]
        async with held(f"ws://127.0.0.1:{full.port}/stream/{path}", certificates):
            await until(lambda: full.lines("streams", "started"))
            assert await ready(full, certificates) == 503
            await call(behind, certificates, 6)  # whether or not the balancer knows it by now
            if balancer == "haproxy":
                await until(lambda: "nodes/node-1 is DOWN" in behind.told)
                before = calls_of(full)
                await call(behind, certificates, 3)
                assert calls_of(full) == before
            assert len(full.lines("streams", "account")) == 0  # of one that it had let in
        await until(lambda: full.lines("streams", "account"))
        assert await ready(full, certificates) == 200
        if balancer == "haproxy":
            await until(lambda: "nodes/node-1 is UP" in behind.told)
        async with AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(
                    held(await stream_url(behind, certificates), certificates)
                )
                for _ in range(3)
            ]
            await until(lambda: sum(map(going_on, behind.nodes)) == 3)
            kept = going_on(drained)
            assert kept >= 1
            drained.process.send_signal(signal.SIGTERM)
            if balancer == "haproxy":
                await until(lambda: "nodes/node-2 is DOWN" in behind.told)
            else:
                while await ready(drained, certificates) != 503:  # noqa: ASYNC110  # theirs
                    await trio.sleep(0.05)
            answers, streams = calls_of(drained)
            await call(behind, certificates, 3)
            assert calls_of(drained) == (answers if balancer == "haproxy" else ANY, streams)
            assert going_on(drained) == kept
            for one in sockets:
                await one.send(json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {}}))
                with trio.fail_after(5), pytest.raises(SocketClosed, match="1000"):
                    await one.receive()
        await until(lambda: drained.process.poll() is not None)
        assert drained.process.returncode == 0
    assert {end["how"] for end in drained.lines("streams", "disconnected")} == {"stopped"}


async def test_calls_are_answered_and_their_streams_let_in_while_redis_is_away(
    balancer: str, certificates: Certificates, tmp_path: Path
) -> None:
    with balanced(balancer, tmp_path, certificates, {}) as behind:
        behind.redis.terminate()
        for number, node in enumerate(behind.nodes, 1):
            while await ready(node, certificates) != 503:  # noqa: ASYNC110  # theirs
                await trio.sleep(0.05)
            if balancer == "haproxy":
                await until(partial(is_told, behind, f"nodes/node-{number} is DOWN"))
        for _ in range(12):
            assert await delivered(behind, certificates) in (502, 503)
        async with held(await stream_url(behind, certificates), certificates) as stream:
            await until(lambda: sum(map(going_on, behind.nodes)) == 1)
            await stream.send(json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {}}))
            with trio.fail_after(5), pytest.raises(SocketClosed, match="1000"):
                await stream.receive()


async def delivered(behind: Balanced, files: Certificates) -> int:
    """Deliver a webhook; its status."""
    document = {"event": "call.completed", "created_at": "2026-05-29T12:10:00Z"}
    body = json.dumps(document | {"call": {"id": "call_1"}}).encode()
    timestamp = str(int(time.time()))
    signature = sign_webhook(behind.webhook_secret, timestamp, body)
    headers = {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature}
    return (await ask(f"{behind.url}/webhooks", files, "POST", body, **headers)).status


def is_told(behind: Balanced, what: str) -> bool:
    """Whether the balancer has said so."""
    return what in behind.told


def going_on(node: Behind) -> int:
    """How many streams have started and not ended."""
    return len(node.lines("streams", "started")) - len(node.lines("streams", "account"))


@pytest.mark.parametrize(
    ("one", "several"),
    [("haproxy.cfg", "haproxy-cluster.cfg"), ("nginx.conf", "nginx-cluster.conf")],
)
def test_quiet_calls_and_secrets_are_treated_as_before_one_receiver(one: str, several: str) -> None:
    """Of one receiver the long test tries it: 90 seconds without a byte."""
    matters = re.compile(
        r"(timeout (?:tunnel|client|server)|proxy_(?:read|send)_timeout|(?:access|error)_log"
        r"|set-log-level|.*Forwarded|forwardfor|proxy_buffering|ssl-min-ver|ssl_protocols)\b.*"
    )
    found = [
        [line.split("#")[0].split() for line in text.splitlines() if matters.search(line)]
        for text in ((DEPLOY / name).read_text("utf-8") for name in (one, several))
    ]
    assert found[0] == found[1] and len(found[0]) >= 6
