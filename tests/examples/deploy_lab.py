"""Runs the receiver as the systemd unit has it, and the real proxies as their files have it.

Only names are replaced: addresses, ports, and where certificates lie.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from examples_lab import EXAMPLES
from minivoice_ref.certificates import Certificates

__all__ = ["DEPLOY", "PROXIES", "SECRET", "Deployed", "deployed", "free_port", "haproxy", "nginx"]
__all__ += ["proxied", "proxy_alone", "receiver", "running", "unit"]

DEPLOY = EXAMPLES / "deploy"
SECRET = "the-secret-of-this-test"
_LONGEST = 30.0  # seconds until a program listens


def unit() -> list[tuple[str, str]]:
    """The settings of the systemd unit, in order."""
    lines = (DEPLOY / "minivoice-ref.service").read_text("utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in pairs]


@dataclass(frozen=True)
class Deployed:
    """A receiver behind a proxy that listens at `url`."""

    url: str
    data: Path
    webhook_secret: str


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def written_for(name: str, replaced: Mapping[str, str]) -> str:
    """A file of deploy/ with names replaced, each of which it must have."""
    text = (DEPLOY / name).read_text("utf-8")
    for old, new in replaced.items():
        assert old in text, f"{name} has no {old}"
        text = text.replace(old, new)
    return text


def nginx(
    name: str, nodes: Mapping[str, str], folder: Path, port: int, files: Certificates
) -> list[str]:
    """Write nginx's files, of which deploy/ has one; return how it is started."""
    replaced = {
        **nodes,
        "    listen [::]:443 ssl;\n": "",
        "listen 443": f"listen 127.0.0.1:{port}",
        "media.example.com": "localhost",
        "/etc/ssl/minivoice/cert.pem": str(files.cert),
        "/etc/ssl/minivoice/key.pem": str(files.key),
        "/var/log/nginx/error.log": f"{folder}/error.log",
    }
    (folder / "site.conf").write_text(written_for(name, replaced))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}} http {{ access_log {folder}/access.log; {temporary}"
        f"include {folder}/site.conf; }}"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(
    name: str, nodes: Mapping[str, str], folder: Path, port: int, files: Certificates
) -> list[str]:
    """Write HAProxy's files, of which deploy/ has one; return how it is started."""
    both = folder / "cert-and-key.pem"
    both.write_bytes(files.cert.read_bytes() + files.key.read_bytes())
    replaced = {
        **nodes,
        "bind :443": f"bind 127.0.0.1:{port}",
        "/etc/ssl/minivoice/cert-and-key.pem": str(both),
        "    maxconn ": "    maxconn 1000 #",
        "log /dev/log local0": "log stdout format raw local0",
    }
    (folder / "haproxy.cfg").write_text(written_for(name, replaced))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def caddy(
    name: str, nodes: Mapping[str, str], folder: Path, port: int, files: Certificates
) -> list[str]:
    """Write Caddy's files, of which deploy/ has one; return how it is started."""
    replaced = {
        **nodes,
        "\tlog {": "\tadmin off\n\tauto_https disable_redirects\n\tlog {",
        "media.example.com {": f"https://localhost:{port} {{\n\ttls {files.cert} {files.key}",
    }
    (folder / "Caddyfile").write_text(written_for(name, replaced))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


Write: TypeAlias = Callable[[str, Mapping[str, str], Path, int, Certificates], list[str]]

#: The proxies before one receiver: the file, and what writes it and says how it is started.
PROXIES: Mapping[str, tuple[str, Write]] = {
    "nginx": ("nginx.conf", nginx),
    "haproxy": ("haproxy.cfg", haproxy),
    "caddy": ("Caddyfile", caddy),
}


@contextmanager
def running(
    command: list[str], log: Path, port: int, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for a block, which begins when it listens at *port*."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MINIVOICE")}
    environment = {**ours, **more}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            _wait_for(port, process, log)
            yield process
        finally:
            process.terminate()
            process.wait(_LONGEST)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Try to connect until it works: these programs cannot be asked to say when they are ready."""
    for _ in range(int(_LONGEST * 20)):
        with socket.socket() as attempt:
            attempt.settimeout(1)
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(log.read_text("utf-8"))


def receiver(
    folder: Path, behind: int, url: str, settings: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """How a receiver is started as the unit has it, but for *settings*: command and environment."""
    for name, value in (("webhook_secret", SECRET), ("token_key", "the-key-of-this-test")):
        (folder / name).write_text(value)
    environment, command = {}, []
    for name, value in unit():
        value = value.replace("%S/minivoice", str(folder / "data")).replace("%d", str(folder))
        if name == "Environment":
            variable, _, setting = value.partition("=")
            environment[variable] = setting
        elif name == "ExecStart":
            for old, new in (
                ("/opt/minivoice/bin/minivoice-ref", f"{sys.executable} -m minivoice_ref"),
                ("127.0.0.1:8080", f"127.0.0.1:{behind}"),
                ("https://media.example.com", url),
            ):
                assert old in value
                value = value.replace(old, new)
            command = shlex.split(value)
    return command, {**environment, **settings}


@contextmanager
def proxied(
    proxy: str, command: list[str], folder: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy for a block."""
    executable = shutil.which(proxy)
    assert executable is not None
    own_home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with running([executable, *command[1:]], folder / "proxy.log", port, **own_home) as process:
        yield process


@contextmanager
def deployed(
    proxy: str, folder: Path, files: Certificates, settings: Mapping[str, str] | None = None
) -> Iterator[Deployed]:
    """Run a receiver as the unit has it, but for *settings*, behind *proxy*, for a block."""
    folder.mkdir()
    port, behind = free_port(), free_port()
    url = f"https://localhost:{port}"
    command, environment = receiver(folder, behind, url, settings or {})
    name, write = PROXIES[proxy]
    in_front = write(name, {"127.0.0.1:8080": f"127.0.0.1:{behind}"}, folder, port, files)
    with (
        running(command, folder / "receiver.log", behind, **environment),
        proxied(proxy, in_front, folder, port),
    ):
        yield Deployed(url, folder / "data", SECRET)


@contextmanager
def proxy_alone(proxy: str, folder: Path, files: Certificates) -> Iterator[str]:
    """Run *proxy* with nobody behind it for a block; gives its URL."""
    folder.mkdir()
    port = free_port()
    name, write = PROXIES[proxy]
    in_front = write(name, {"127.0.0.1:8080": f"127.0.0.1:{free_port()}"}, folder, port, files)
    with proxied(proxy, in_front, folder, port):
        yield f"https://localhost:{port}"
