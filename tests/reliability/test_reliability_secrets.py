"""No secret of a run is found in what it left behind: logs, captures, recordings, pages."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import logging
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from reliability_lab import LIMITS, TIMEOUTS, Caller, event, running

from minivoice_ref.certificates import make_certificates
from minivoice_ref.config import Config
from minivoice_ref.console import open_console
from minivoice_ref.metrics import open_metrics
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.protocol.actions import Answer
from minivoice_ref.protocol.media import Unknown
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER
from minivoice_ref.protocol.signing import mint_token, sign_webhook
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.annex import together
from minivoice_ref.receiver.app import AnswerRequest, App, stream_the_call
from minivoice_ref.receiver.explain import explain
from minivoice_ref.receiver.evidence import gather, read_lines
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.server import Server, serve

SECRETS = {
    "webhook_secret": "wsec-AAAAAAAAAAAA",
    "webhook_secret_previous": "wsec-BBBBBBBBBBBB",
    "token_key": "tkey-CCCCCCCCCCCC",
    "answer_auth": "Basic platform:pass-DDDDDDDDDDDD",
    "stream_auth": "Bearer bear-EEEEEEEEEEEE",
    "console_token": "cons-FFFFFFFFFFFF",
    "metrics_auth": "Bearer metr-GGGGGGGGGGGG",
}
BASIC = base64.b64encode(b"platform:pass-DDDDDDDDDDDD").decode()


class Run:
    """A receiver with every secret set, whose application leaks what it can."""

    def __init__(self, config: Config, ca: Path) -> None:
        self.config = config
        self.connect = TcpConnector(client_context(ca), TIMEOUTS)
        self.seen: list[str] = []  # what must not be found: tokens, signatures

    async def on_answer(self, request: AnswerRequest) -> Answer:
        if request.query.get("fail"):
            raise ValueError(f"{request} {dict(request.headers)} {request.stream_url()}")
        return await stream_the_call(request)

    async def on_stream(self, stream: MediaStream) -> None:
        async for item in stream.events():
            if isinstance(item, Unknown):
                raise ValueError(f"{item} {SECRETS}")

    async def on_event(self, event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        if event.event == "call.failed":
            raise ValueError(f"{self.config.secrets}")

    async def request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> bytes:
        """Make a request; return what the peer sees of it."""
        given = [("Content-Type", "application/json")]
        given += headers.items()
        response = await fetch(
            method,
            url,
            headers=given,
            body=body,
            connect=self.connect,
            timeouts=TIMEOUTS,
            limits=LIMITS,
        )
        return response.body + repr(response.headers).encode()

    async def ask(self, url: str) -> str:
        """Ask for an answer as one may; return the stream's URL."""
        body = await self.request(
            "POST", url, b'{"call_id":"call_1"}', {"Authorization": f"Basic {BASIC}"}
        )
        document, _ = json.JSONDecoder().raw_decode(body.decode())
        found: str = document["actions"][0]["stream_url"]
        self.seen.append(found.rpartition("/")[2])
        return found

    async def deliver(self, url: str, body: bytes, secret: str) -> bytes:
        """Deliver a webhook, signed."""
        now = str(int(time.time()))
        signature = sign_webhook(secret, now, body)
        self.seen.append(signature)
        return await self.request(
            "POST", url, body, {TIMESTAMP_HEADER: now, SIGNATURE_HEADER: signature}
        )

    async def stream(self, url: str, authorization: str, *, strange: bool = False) -> None:
        """Open a stream, speak, and stop; or send what nobody understands."""
        headers = [("Authorization", authorization), ("Cookie", "session=bear-EEEEEEEEEEEE")]
        async with open_connected(
            url, connect=self.connect, headers=headers, limits=LIMITS, timeouts=TIMEOUTS
        ) as ws:
            caller = Caller(ws, "call_1")
            await caller.start()
            await caller.speak(3)
            if strange:
                token = url.rpartition("/")[2]
                told = {
                    "token": SECRETS["token_key"],
                    "u": token,
                    "note": " ".join(SECRETS.values()),
                }
                await ws.send(json.dumps({"event": "?", **told}))
            else:
                await caller.stop()
            await caller.close_code()


async def play(run: Run, urls: dict[str, str]) -> list[bytes]:
    """Do everything right once, and everything wrong once; return all that peers saw."""
    pages: list[bytes] = []
    url = await run.ask(urls["answer"])
    await run.stream(url, SECRETS["stream_auth"])
    await run.stream(url, SECRETS["stream_auth"], strange=True)
    for authorization, target in (
        (SECRETS["console_token"], url),
        (SECRETS["stream_auth"], url[:-4]),
    ):
        with pytest.raises(UpgradeRefused):
            await run.stream(target, authorization)
    faulty: list[dict[str, str]] = [{}, {"Authorization": f"Bearer {BASIC}"}]
    for wrong in faulty:
        pages.append(await run.request("POST", urls["answer"], b"{}", wrong))
    failing = f"{urls['answer']}?fail=1&secret={SECRETS['token_key']}"
    pages.append(await run.request("POST", failing, b"{}", {"Authorization": f"Basic {BASIC}"}))
    for name in ("webhook_secret", "webhook_secret_previous", "token_key"):
        for what in ("call.completed", "call.failed"):
            pages.append(await run.deliver(urls["webhooks"], event(f"{name}", what), SECRETS[name]))
    figures = urls["base"] + "/metrics"
    for page in (urls["health"], urls["base"] + "/ready", figures):
        pages.append(await run.request("GET", page, None, {}))
    shown = {"Authorization": SECRETS["metrics_auth"]}
    pages.append(await run.request("GET", figures, None, shown))
    assert b"minivoice_webhooks_total" in pages[-1]
    token = {"Authorization": f"Bearer {SECRETS['console_token']}"}
    pages += [await run.request("GET", urls["console"] + path, None, token) for path in ("", "x")]
    return pages


def left_behind(folder: Path) -> dict[str, bytes]:
    """Every file of the run, unpacked."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found[path.name] = gzip.decompress(data) if path.suffix == ".gz" else data
    return found


async def test_no_secret_is_found_in_what_a_run_leaves_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    files = make_certificates(tmp_path / "certificates")
    config = Config(
        listen="127.0.0.1:0",
        tls_cert=files.cert,
        tls_key=files.key,
        data=tmp_path / "data",
        record=True,
        capture=True,
        console=True,
        metrics=True,
        event_attempts=1,
        **SECRETS,  # type: ignore[arg-type]
    )
    run = Run(config, files.ca)
    app = App(run.on_answer, run.on_stream, run.on_event)

    async def start(task_status: trio.TaskStatus[Server]) -> None:  # noqa: ASYNC114, ASYNC128
        annex = together(open_console, open_metrics)
        await serve(app, config, annex=annex, task_status=task_status)

    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(start)
            pages = await play(run, dataclasses.asdict(server.urls))
            server.stop()
    texts = left_behind(config.data)
    assert {name.partition(".")[0][:9] for name in texts} >= {"answers", "streams", "webhooks"}
    assert sum(name.endswith((".wav", ".jsonl.gz")) for name in texts) == 4
    texts["pages"] = b"\n".join(pages)
    texts["terminal"] = caplog.text.encode() + repr([r.__dict__ for r in caplog.records]).encode()
    lines, foreign = read_lines(
        texts["streams.jsonl"].splitlines() + texts["answers.jsonl"].splitlines()
    )
    assert (
        not foreign
        and (b"MV-509" in texts["streams.jsonl"])
        and (b"MV-102" in texts["answers.jsonl"])
    )
    texts["explanation"] = str(explain(gather(lines, "call_1"), tolerance=5.0)).encode()
    secrets = {*config.secrets, *SECRETS.values(), BASIC, *run.seen}
    for name, text in texts.items():
        for secret in secrets:
            assert secret.encode() not in text, (name, secret)


COMMANDS = (
    "call --speak 0.5",
    "call --speak 0.5 --json --fault wrong-signature --fault wrong-token",
    "load --calls 4 --rate 10 --speak 0.5 --json",
    "conformance --only good-call --only wrong-token --junit {folder}/junit.xml",
    "doctor --json",
    "doctor",
)
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\.[0-9]{10,15}\.[A-Za-z0-9_-]+")
REPORTS = ("explain", "explain --json", "show {capture}", "show --json {capture}")
REPLAYS = ("replay {capture} --fast --json --answer-url {answer}", "check {answer} --json")


async def test_no_secret_is_found_in_what_the_commands_print_and_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in's side has the webhook's secret, too, and sees every token in the answers."""
    files = make_certificates(tmp_path / "certificates")
    given: dict[str, Any] = {
        name: SECRETS[name] for name in ("webhook_secret", "token_key", "console_token")
    }
    tls: dict[str, Any] = {"tls_cert": str(files.cert), "tls_key": str(files.key)}
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET", SECRETS["webhook_secret"])
    monkeypatch.setenv("MINIVOICE_DATA", str(tmp_path / "data"))
    printed: dict[str, bytes] = {}

    async def run(command: str, **names: object) -> None:
        words = command.format(folder=tmp_path, **names).split()
        done = await trio.run_process(
            [sys.executable, "-m", "minivoice_ref", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        assert len(done.stdout) > 100, (command, done.stderr)
        printed[command] = done.stdout + done.stderr

    with trio.fail_after(120):
        async with running(
            tmp_path / "data", ca=files.ca, capture=True, record=True, **tls, **given
        ) as receiver:
            urls = receiver.urls
            where = f" --answer-url {urls['answer']} --webhook-url {urls['webhooks']}"
            for command in COMMANDS:
                await run(command + where + f" --ca {files.ca}")
            *_, capture = sorted((tmp_path / "data" / "captures").iterdir())
            for command in REPORTS:
                await run(command, capture=capture)
            for command in REPLAYS:
                await run(f"{command} --ca {files.ca}", capture=capture, answer=urls["answer"])
            receiver.process.send_signal(signal.SIGTERM)
            assert await receiver.process.wait() == 0
    assert TOKEN.search(mint_token("a key of ours", "call:call_1", 2e9))
    texts = left_behind(tmp_path / "data") | printed
    texts["junit"] = (tmp_path / "junit.xml").read_bytes()
    assert len(texts) > len(COMMANDS) + len(REPORTS) + len(REPLAYS) + 10
    for name, text in texts.items():
        shown = text.decode("utf-8", "replace")
        assert not TOKEN.search(shown), name
        for secret in given.values():
            assert secret not in shown, (name, secret)
