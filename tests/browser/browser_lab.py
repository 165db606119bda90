"""What the tests in a real browser share: a receiver of its own process, and headless Chromium.

The receiver is the command `serve --console`, with certificates made on the spot and real sockets;
its console has a door on loopback. The browser is the system's, driven by Playwright. Waiting is
Playwright's: for what is to be seen, under a deadline.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import trio

from minivoice_ref.certificates import Certificates
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.tls import client_context

__all__ = ["CHROMIUM", "PATIENCE", "Receiver", "free_port", "in_trio"]

CHROMIUM = os.environ.get("CHROMIUM") or next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
"""The browser to test with: the variable's, or the one on the PATH."""

PATIENCE = 45.0
"""Seconds for what is waited for: a process, or something to be seen. A busy machine is slow."""


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Receiver:
    """A receiver with its console in a process of its own; may be stopped and started again."""

    def __init__(
        self, data: Path, certificates: Certificates, *options: str, token: str | None = None
    ) -> None:
        self.port = free_port()
        self.console = f"http://127.0.0.1:{self.port}/console/"
        self._files = certificates
        self._token = token
        self._command = [
            *(sys.executable, "-m", "minivoice_ref", "serve", "--json", "--record"),
            *("--listen", f"127.0.0.1:{free_port()}", "--data", str(data)),
            *("--tls-cert", str(certificates.cert), "--tls-key", str(certificates.key)),
            *("--console", "--console-listen", f"127.0.0.1:{self.port}", *options),
        ]
        self.urls: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Receiver:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until its doors are open."""
        environ = dict(os.environ)
        if self._token is not None:
            environ["MINIVOICE_CONSOLE_TOKEN"] = self._token
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environ,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError(f"the receiver does not start: {' '.join(self._command)}")
        self.urls = json.loads(line)["urls"]

    def stop(self) -> None:
        """Have it drain, and insist."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()

    async def request(
        self, method: str, url: str, body: object = None, **headers: str
    ) -> dict[str, Any]:
        """Ask the receiver something as the platform would; the JSON of its answer."""
        response = await fetch(
            method,
            url,
            headers=(("content-type", "application/json"), *headers.items()),
            body=None if body is None else json.dumps(body).encode(),
            connect=self.connect(),
            timeouts=Timeouts(),
            limits=Limits(),
        )
        assert response.ok, response
        document: dict[str, Any] = json.loads(response.body)
        return document

    def connect(self) -> TcpConnector:
        """A way to the receiver that trusts its certificate."""
        return TcpConnector(client_context(self._files.ca), Timeouts())


def in_trio(work: Callable[[], Awaitable[None]]) -> None:
    """Run *work* in Trio, in a thread of its own: Playwright has this one's signals and loop."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            trio.run(work)
        except BaseException as exc:
            failures.append(exc)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive() and not failures, failures
