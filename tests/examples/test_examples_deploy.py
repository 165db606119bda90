"""deploy/: each file with the real program, from the package that Debian has of it.

The proxies are those of `apt-get install nginx haproxy caddy`; without one, its tests are skipped.
The quiet stretch lasts 90 seconds of real time, of all three at once, and only where
LONG_TESTS is set.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from deploy_lab import DEPLOY, PROXIES, Deployed, deployed, proxy_alone, unit

from minivoice_ref import Limits, Timeouts, read_answer
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http import Response
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.media_socket import SocketClosed
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.simulator.call import CallPlan, place_call

QUIET = 90.0  # seconds
INSTALLED = [name for name in PROXIES if shutil.which(name)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def lines(deployment: Deployed, log: str) -> list[dict[str, Any]]:
    text = (deployment.data / f"{log}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def streams(deployment: Deployed, what: str) -> list[dict[str, Any]]:
    return [line for line in lines(deployment, "streams") if line["what"] == what]


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_call_passes_through_the_proxy(
    proxy: str, certificates: Certificates, tmp_path: Path
) -> None:
    if proxy not in INSTALLED:
        pytest.skip(f"{proxy} is not installed")
    with deployed(proxy, tmp_path / proxy, certificates) as deployment:
        plan = CallPlan(
            answer_url=f"{deployment.url}/answer",
            webhook_url=f"{deployment.url}/webhooks",
            webhook_secret=deployment.webhook_secret,
            speak=1.0,
        )
        connect = TcpConnector(client_context(certificates.ca), Timeouts())
        report = await place_call(plan, connect=connect)
    assert report.passed, str(report)
    assert report.streams[0].stream_url.startswith(deployment.url.replace("https", "wss"))
    (opened,) = streams(deployment, "open")
    headers = dict(opened["headers"])
    assert headers["x-forwarded-proto"] == "https" and headers["x-forwarded-for"] == "127.0.0.1"
    (account,) = streams(deployment, "account")
    assert account["tracks"]["inbound"]["lost"] == 0
    token = re.findall(r"/stream/([\w.-]{6})", opened["path"])[0]
    logs = [path for path in tmp_path.rglob("*.log") if path.name != "receiver.log"]
    assert logs and not any(token in path.read_text("utf-8") for path in logs)


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_client_cannot_say_through_the_proxy_who_it_is(
    proxy: str, certificates: Certificates, tmp_path: Path
) -> None:
    if proxy not in INSTALLED:
        pytest.skip(f"{proxy} is not installed")
    with deployed(proxy, tmp_path / proxy, certificates) as deployment:
        await ask(deployment, certificates, [("Forwarded", "for=203.0.113.9")])
    (answered,) = [line for line in lines(deployment, "answers") if line["what"] == "answered"]
    assert "203.0.113.9" not in json.dumps(answered)
    assert answered["peer"].startswith("127.0.0.1")


@pytest.mark.parametrize("proxy", PROXIES)
async def test_the_longest_body_that_the_receiver_takes_passes_the_proxy(
    proxy: str, certificates: Certificates, tmp_path: Path
) -> None:
    if proxy not in INSTALLED:
        pytest.skip(f"{proxy} is not installed")
    with deployed(proxy, tmp_path / proxy, certificates) as deployment:
        body = bytes(Limits().request_body)
        response = await request("POST", f"{deployment.url}/webhooks", certificates, body=body)
    assert response.status == 401  # the receiver's, since nobody has signed it


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_proxy_whose_receiver_is_away_logs_no_token(
    proxy: str, certificates: Certificates, tmp_path: Path
) -> None:
    if proxy not in INSTALLED:
        pytest.skip(f"{proxy} is not installed")
    with proxy_alone(proxy, tmp_path / proxy, certificates) as url:
        response = await request("GET", f"{url}/stream/the-token-of-this-test", certificates)
    assert response.status in (502, 503)
    logs = [path.read_text("utf-8") for path in tmp_path.rglob("*.log")]
    assert logs and not any("the-token-of" in text for text in logs), logs


async def request(
    method: str,
    url: str,
    certificates: Certificates,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
) -> Response:
    """One request, on a connection of its own."""
    return await fetch(
        method,
        url,
        headers=headers,
        body=body,
        connect=TcpConnector(client_context(certificates.ca), Timeouts()),
        timeouts=Timeouts(),
        limits=Limits(),
    )


async def ask(
    deployment: Deployed, certificates: Certificates, headers: list[tuple[str, str]]
) -> str:
    """Ask the answer_url; return the URL of the stream that it wants."""
    url = f"{deployment.url}/answer?call_id=call_1"
    response = await request("GET", url, certificates, headers)
    (action,) = read_answer(response.body).actions
    assert action is not None
    return str(action.parameters["stream_url"])


def media(number: int) -> str:
    """20 ms of the caller, so many frames after the beginning."""
    payload = base64.b64encode(bytes(160)).decode()
    told = {"track": "inbound", "timestamp": str(20 * number), "payload": payload}
    return json.dumps({"event": "media", "media": told})


async def hold_a_call(deployment: Deployed, certificates: Certificates) -> None:
    """Speak, send nothing at all for QUIET seconds, and speak again."""
    start = {
        "streamSid": "MZ1",
        "callSid": "call_1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    async with open_connected(
        await ask(deployment, certificates, []),
        connect=TcpConnector(client_context(certificates.ca), Timeouts()),
        limits=Limits(),
        timeouts=Timeouts(),
    ) as socket:
        await socket.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
        await socket.send(media(0))
        with trio.move_on_after(QUIET):
            await socket.receive()  # raises SocketClosed where the stream is cut
        await socket.send(media(int(QUIET) * 50))
        await socket.send(json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {}}))
        with trio.fail_after(5), pytest.raises(SocketClosed, match="1000: the stream was stopped"):
            await socket.receive()


@pytest.mark.skipif(
    "LONG_TESTS" not in os.environ,
    reason="takes 95 seconds; set LONG_TESTS to run it",
)
async def test_a_quiet_stretch_of_a_held_call_does_not_cut_the_stream(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Not a byte goes either way: no media, and no pings, which would keep any proxy awake."""
    if not INSTALLED:
        pytest.skip("no proxy is installed")
    no_pings = {"MINIVOICE_TIMEOUTS_PING_EVERY": "3600"}
    with ExitStack() as stack:
        deployments = [
            stack.enter_context(deployed(name, tmp_path / name, certificates, no_pings))
            for name in INSTALLED
        ]
        async with trio.open_nursery() as nursery:
            for deployment in deployments:
                nursery.start_soon(partial(hold_a_call, deployment, certificates))
    for deployment in deployments:
        (ended,) = streams(deployment, "disconnected")
        assert ended["how"] == "stopped", deployment.data
        (account,) = streams(deployment, "account")
        assert account["tracks"]["inbound"]["received"] == 320
        assert account["seconds"] > QUIET


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_unit_and_its_sandbox_is_tight(tmp_path: Path) -> None:
    path = tmp_path / "minivoice-ref.service"
    text = (DEPLOY / "minivoice-ref.service").read_text("utf-8")
    path.write_text(text.replace("/opt/minivoice/bin/minivoice-ref", sys.executable))
    verified = systemd_analyze("verify", str(path))
    assert verified.returncode == 0 and verified.stdout + verified.stderr == ""
    judged = systemd_analyze("security", "--offline=true", "--threshold=15", str(path))
    assert judged.returncode == 0, judged.stdout[-300:]


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def test_the_unit_gives_a_drain_the_time_that_it_needs() -> None:
    grace, finish = Timeouts().grace, Timeouts().finish
    assert int(dict(unit())["TimeoutStopSec"]) >= grace + finish + 5
