"""The README's commands of a cluster run as they stand there: with TLS and a password to Redis.

Only its addresses are replaced, and what it leaves out (`…`) is filled in.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
from cluster_lab import Node, free_port, needs_redis, redis_server, until, webhook

from minivoice_ref.certificates import make_certificates
from minivoice_ref.commands import serve
from minivoice_ref.config import Config
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook

README = Path(__file__).parent.parent.parent / "README.rst"
SECRET = "what the README leaves out"
WORKERS = 4

pytestmark = needs_redis


def block() -> tuple[dict[str, str], str]:
    """What is exported, and the command, without the breaks of its lines."""
    text = README.read_text("utf-8")
    found = re.search(r"^    pip install 'minivoice-ref\[cluster\]'\n((?:    .*\n)+)", text, re.M)
    assert found is not None
    lines = found[1].replace(" \\\n", " ").strip().splitlines()
    *exports, command = [line.split("#")[0].strip() for line in lines]
    pairs = [line.removeprefix("export ").partition("=") for line in exports]
    return {name: value.replace("…", SECRET) for name, _, value in pairs}, command


def test_the_settings_of_the_readmes_cluster_are_good_as_they_stand_there() -> None:
    """With its own addresses, which are not of this machine alone."""
    environ, command = block()
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    given = vars(parser.parse_args(shlex.split(command)[2:]))
    given = {name: value for name, value in given.items() if name in Config.__dataclass_fields__}
    config = Config.load(environ=environ, **given)
    assert (config.workers, config.listen) == (WORKERS, "10.0.0.7:8080")
    assert config.cluster == "rediss://10.0.0.5:6379/0" and config.cluster_password == SECRET


async def test_the_readmes_cluster_starts_and_two_of_its_nodes_work_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, port = make_certificates(tmp_path / "tls"), free_port()
    environ, command = block()
    environ |= {"MINIVOICE_CLUSTER_CA": str(files.ca), "MINIVOICE_TIMEOUTS_LINGER": "0.1"}
    monkeypatch.setenv("REDISCLI_AUTH", SECRET)
    options = ["--tls-port", str(port), "--requirepass", SECRET, "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(files.cert), "--tls-key-file", str(files.key)]
    options += ["--tls-ca-cert-file", str(files.ca)]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with redis_server(tmp_path / "redis", *options) as redis:
        async with trio.open_nursery() as nursery, AsyncExitStack() as stopped:
            nodes = []
            for name in ("one", "two"):
                node = await start(nursery, command, tmp_path / name, port)
                stopped.push_async_callback(stop, node)
                nodes.append(node)
            one, two = nodes
            with trio.fail_after(30):
                await one.hears_of(2 * WORKERS - 1)
            async with one.stream("call_1") as caller:
                await until(lambda: one.lines("streams", "started"))
                assert await delivered(two, "call.completed", "call_1") == 200
                with trio.fail_after(5):
                    assert await caller.close_code() == 1000
            assert await two.deliver("call.completed", "call_1") == 401  # unsigned
            await until(lambda: redis.cli("XLEN", "{minivoice}:events") == "0")
            assert redis.cli("EXISTS", "{minivoice}:ended:call_1") == "1"


async def delivered(node: Node, event: str, call_id: str) -> int:
    """Deliver a webhook as whoever knows the secret does; its status."""
    body, now = webhook(event, call_id), str(int(time.time()))
    signed = ((TIMESTAMP_HEADER, now), (SIGNATURE_HEADER, sign_webhook(SECRET, now, body)))
    return (await node.request("POST", "/webhooks", body, *signed)).status


async def start(nursery: trio.Nursery, command: str, folder: Path, redis: int) -> Node:
    """A node, of which the command says all but where things are here."""
    folder.mkdir()
    port = free_port()
    for old, new in (
        ("minivoice-ref ", f"exec {shlex.quote(sys.executable)} -m minivoice_ref "),
        ("10.0.0.5:6379", f"127.0.0.1:{redis}"),
        ("10.0.0.7:8080", f"127.0.0.1:{port}"),
    ):
        assert old in command
        command = command.replace(old, new, 1)
    run = partial(trio.run_process, cwd=folder, stdout=subprocess.PIPE, check=False)
    process: trio.Process = await nursery.start(run, ["sh", "-c", command])
    said = b""
    assert process.stdout is not None
    with trio.fail_after(60):
        await trio.lowlevel.checkpoint()
        while b"wss://media.example.com/stream" not in said:
            more = await process.stdout.receive_some()
            assert more, "the node ended before its doors were open"
            said += more
    return Node(folder.name, process, f"http://127.0.0.1:{port}", folder / "minivoice-data")


async def stop(node: Node) -> None:
    """Have a node drain; it has to do it."""
    node.process.terminate()
    with trio.fail_after(20):
        assert await node.process.wait() == 0
