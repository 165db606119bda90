"""The console of a cluster: whoever looks at any node sees and hears the calls of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from cluster_lab import Lab, Node, RedisServer, needs_redis, redis_server, until
from watching_lab import CONSOLE, TOKEN, Onlooker, as_sent, onlooker, speak

pytestmark = needs_redis

SECRET = "a secret of the webhooks' signature"


class Cluster:
    """Nodes that share a Redis; at each a call that speaks until `hush` is set."""

    def __init__(self, redis: RedisServer, nodes: list[Node], names: list[str]) -> None:
        self.redis = redis
        self.nodes = nodes
        self.names = names
        self.hush = trio.Event()


@asynccontextmanager
async def cluster(folder: Path, **environ: str) -> AsyncIterator[Cluster]:
    """Two nodes with consoles: `call_0` at the first one, `call_1` at the second one."""
    with redis_server(folder / "redis") as redis:
        given = {"MINIVOICE_CLUSTER": redis.url, "MINIVOICE_TIMEOUTS_LEASE": "3"}
        lab = Lab(folder, given | CONSOLE | environ)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(lab.node(f"node-{n}")) for n in range(2)]
            for node in nodes:
                with trio.fail_after(20):
                    await node.hears_of(1)
            names = [str((await node.health())["node"]) for node in nodes]
            made = Cluster(redis, nodes, names)
            nursery = await stack.enter_async_context(trio.open_nursery())
            for number, node in enumerate(nodes):
                caller = await stack.enter_async_context(node.stream(f"call_{number}"))
                nursery.start_soon(speak, caller, made.hush)
                await until(partial(node.lines, "streams", "first_media"))
            yield made
            nursery.cancel_scope.cancel()


def is_live(looking: Onlooker, call_id: str) -> bool:
    return bool(looking.card(call_id).get("live"))


def has_heard(looking: Onlooker) -> bool:
    """Whether it has heard two seconds."""
    return len(looking.samples) > 100


@asynccontextmanager
async def monitored(redis: RedisServer, file: Path) -> AsyncIterator[Path]:
    """Have Redis write down every command while the block runs."""
    command = ["redis-cli", "-p", str(redis.port), "MONITOR"]
    with file.open("wb") as output:
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, command, stdout=output, check=False)
            await nursery.start(start)
            await until(lambda: file.read_bytes().startswith(b"OK"))
            yield file
            nursery.cancel_scope.cancel()


def spoken_of(file: Path) -> list[bytes]:
    """The commands with which consoles talk, of those that were written down."""
    return [line for line in file.read_bytes().splitlines() if b'"PUBLISH"' in line]


async def test_at_either_node_the_calls_of_both_are_seen_live_and_heard(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        for at, elsewhere in ((0, 1), (1, 0)):
            async with onlooker(made.nodes[at], calls=True) as looking:
                for number in (0, 1):
                    await until(partial(is_live, looking, f"call_{number}"))
                    assert looking.card(f"call_{number}")["nodes"] == [made.names[number]]
                assert looking.nodes == {made.names[at]: "here", made.names[elsewhere]: "there"}
                await looking.look(call=f"call_{elsewhere}", listen=True)
                await until(partial(has_heard, looking))
                assert as_sent(looking.samples)
                places = sorted(looking.samples)
                assert places == list(range(places[0], places[-1] + 1, 160))  # none is missing
                assert len(looking.peaks) > 50 and max(looking.peaks) > 100
        made.hush.set()
        async with onlooker(made.nodes[0], call="call_1") as looking:
            await until(lambda: looking.call)
            assert await made.nodes[0].deliver("call.completed", "call_1") == 200
            await until(lambda: looking.call["card"]["over"])
            whats = [line["what"] for line in looking.lines]
            assert whats.count("account") == whats.count("accepted") == 1
        (listening,) = made.nodes[0].lines("streams", "listening")
        assert (listening["node"], listening["call_id"]) == (made.names[0], "call_1")


async def test_with_no_viewer_nothing_is_said_and_audio_goes_of_what_is_listened_to_alone(
    tmp_path: Path,
) -> None:
    secret = {"MINIVOICE_WEBHOOK_SECRET": SECRET}
    async with (
        cluster(tmp_path, **secret) as made,
        monitored(made.redis, tmp_path / "said") as file,
    ):
        await trio.sleep(3)
        assert b"EVALSHA" in file.read_bytes() and spoken_of(file) == []
        async with onlooker(made.nodes[0], calls=True) as looking:
            await until(partial(is_live, looking, "call_1"))
            assert spoken_of(file)
            assert not any(rb"\x00\x00stream_" in line for line in spoken_of(file))  # audio
            await looking.look(call="call_1", listen=True)
            await until(lambda: looking.samples)
            (stream,) = {line["stream_id"] for line in made.nodes[1].lines("streams", "open")}
            (other,) = {line["stream_id"] for line in made.nodes[0].lines("streams", "open")}
            told = spoken_of(file)
            assert any(rf"\x00\x00{stream}\x00".encode() in line for line in told)
            assert not any(rf"\x00\x00{other}\x00".encode() in line for line in told)
        await until(lambda: any(b'\\"stop\\"' in line for line in spoken_of(file)))
        await trio.sleep(0.5)
        before = len(spoken_of(file))
        await trio.sleep(3)
        assert len(spoken_of(file)) == before
        # Nothing that opens a door went over: no token of a stream, no secret, no console token.
        everything = file.read_bytes()
        token = (await made.nodes[1].stream_url("call_1")).rpartition("/")[2].partition("?")[0]
        assert len(token) > 20 and token[:20].encode() not in everything
        assert SECRET.encode() not in everything and TOKEN.encode() not in everything


async def test_a_node_that_is_killed_takes_its_calls_with_it_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made:
        async with onlooker(made.nodes[0], calls=True) as looking:
            for number in (0, 1):
                await until(partial(is_live, looking, f"call_{number}"))
            made.nodes[1].process.kill()
            await until(lambda: looking.card("call_1")["gone"] == made.names[1], 10)
            assert not looking.card("call_1")["live"] and looking.card("call_0")["live"]
            assert looking.card("call_0")["gone"] is None
            assert looking.nodes == {made.names[0]: "here"}
            await until(lambda: looking.card("call_1")["over"])


async def test_a_node_that_drains_has_told_how_its_calls_ended(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        async with onlooker(made.nodes[0], call="call_1") as looking:
            await until(lambda: looking.call and looking.call["card"]["live"])
            made.nodes[1].process.terminate()
            await until(lambda: not looking.call["card"]["live"])
            assert [line for line in looking.lines if line["what"] == "account"]
            assert looking.call["card"]["gone"] is None


async def test_when_redis_was_away_the_console_is_whole_again(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        async with onlooker(made.nodes[0], calls=True) as looking:
            await until(partial(is_live, looking, "call_1"))
            made.redis.kill()
            await until(lambda: not is_live(looking, "call_1"))
            assert is_live(looking, "call_0")  # ours goes on
            async with made.nodes[1].stream("call_2", await made.nodes[1].stream_url("call_2")):
                made.redis.start()
                await until(partial(is_live, looking, "call_1"))
                await until(partial(is_live, looking, "call_2"))
                assert looking.card("call_1")["gone"] is None


async def test_the_recording_of_a_call_at_another_machine_is_there(tmp_path: Path) -> None:
    async with cluster(tmp_path, MINIVOICE_RECORD="1") as made:
        made.hush.set()
        assert await made.nodes[0].deliver("call.completed", "call_1") == 200
        await until(partial(made.nodes[1].lines, "streams", "account"))
        (account,) = made.nodes[1].lines("streams", "account")
        asked = f"/console/recordings/{account['stream_id']}"
        login = ("Authorization", f"Bearer {TOKEN}")
        assert (await made.nodes[1].request("GET", asked, None, login)).status == 200
        elsewhere = await made.nodes[0].request("GET", asked, None, login)
        assert elsewhere.status == 404 and b"no recording of this stream here" in elsewhere.body
        async with onlooker(made.nodes[0], call="call_1") as looking:
            await until(
                lambda: any(line.get("recording") == account["recording"] for line in looking.lines)
            )
            (told,) = (line for line in looking.lines if line["what"] == "account")
            assert told["node"] == made.names[1]
