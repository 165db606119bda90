"""The kinds of Redis that a URL can name, for real: TLS and a password, sentinels, a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from cluster_lab import Lab, RedisServer, free_port, needs_redis, redis_server, until
from watching_lab import CONSOLE, onlooker

from minivoice_ref.certificates import make_certificates

pytestmark = needs_redis

Settings = dict[str, str]


@contextmanager
def over_tls(folder: Path) -> Iterator[Settings]:
    """A Redis that speaks TLS, and wants a password."""
    files, port = make_certificates(folder / "certs"), free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(files.cert), "--tls-key-file", str(files.key)]
    options += ["--tls-ca-cert-file", str(files.ca)]
    with redis_server(folder / "redis", *options) as redis:
        assert redis.cli("CONFIG", "SET", "requirepass", "the password") == "OK"
        yield {
            "MINIVOICE_CLUSTER": f"rediss://localhost:{port}",
            "MINIVOICE_CLUSTER_CA": str(files.ca),
            "MINIVOICE_CLUSTER_PASSWORD": "the password",
        }


@contextmanager
def sentinels(folder: Path) -> Iterator[Settings]:
    """A Redis that a sentinel watches."""
    port = free_port()
    with redis_server(folder / "redis") as redis:
        path = folder / "sentinel.conf"
        path.write_text(f"port {port}\nsentinel monitor calls 127.0.0.1 {redis.port} 1\n")
        process = subprocess.Popen(
            ["redis-server", str(path), "--sentinel"], stdout=subprocess.DEVNULL
        )
        try:
            yield {"MINIVOICE_CLUSTER": f"redis+sentinel://127.0.0.1:{port}/calls"}
        finally:
            process.kill()
            process.wait(10)


@contextmanager
def a_cluster(folder: Path) -> Iterator[Settings]:
    """A Redis Cluster of three, each with a third of the slots."""
    with (
        redis_server(folder / "one", "--cluster-enabled", "yes") as one,
        redis_server(folder / "two", "--cluster-enabled", "yes") as two,
        redis_server(folder / "three", "--cluster-enabled", "yes") as three,
    ):
        servers: list[RedisServer] = [one, two, three]
        command = ["redis-cli", "--cluster", "create", "--cluster-yes"]
        command += [f"127.0.0.1:{server.port}" for server in servers]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        yield {"MINIVOICE_CLUSTER": f"redis+cluster://{hosts}"}


@pytest.mark.parametrize("kind", [over_tls, sentinels, a_cluster])
async def test_two_nodes_share_a_redis_of_any_kind(kind: object, tmp_path: Path) -> None:
    assert callable(kind)
    with kind(tmp_path) as settings:
        lab = Lab(tmp_path, settings | CONSOLE)
        async with lab.node("node-0") as first, lab.node("node-1") as second:
            with trio.fail_after(30):
                await first.accepted("call.created", "call_1")
                await first.hears_of(1)
            async with first.stream("call_1") as caller:
                await until(lambda: first.lines("streams", "started"))
                async with onlooker(second, calls=True) as looking:
                    await until(lambda: looking.card("call_1").get("live"))
                assert await second.deliver("call.completed", "call_1") == 200
                with trio.fail_after(3):
                    assert await caller.close_code() == 1000
            await until(lambda: len(lab.told("handled")) == 2)
        text = "".join(path.read_text() for path in tmp_path.glob("node-*/*.jsonl"))
        assert "the password" not in text
