"""Several faults at once: what they do together hangs on neither their order nor each other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import permutations

import pytest
import trio.testing
from fault_recorder import Sent, faulty_call, without_chance
from hypothesis import given
from hypothesis import strategies as st
from simulator_lab import open_lab

from minivoice_ref.protocol.media import Track, WireMessage
from minivoice_ref.simulator.fault_set import FaultSet
from minivoice_ref.simulator.faults import parse_fault

Clock = trio.testing.MockClock

TRACKS: tuple[Track, ...] = ("inbound", "outbound")


async def test_pings_come_between_fragments_where_both_are_asked_for(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        faults = [parse_fault(text) for text in ("ping-flood=2", "fragments=2")]
        report, recorder = await faulty_call(lab, *faults)
    heads = [data[0] for _, data in recorder.stream()[1:5]]
    assert heads == [0x89, 0x01, 0x89, 0x80]
    assert report.passed, str(report)


async def test_the_same_fault_twice_has_two_chances(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        await faulty_call(lab, parse_fault("lose=50"), parse_fault("lose=50"))
    assert math.isclose(len(lab.heard[0].of("media")), 50, abs_tol=20)


def altered(faults: Iterable[str]) -> list[WireMessage]:
    """What *faults* together make of a stream of two tracks and forty frames."""
    armed = FaultSet(map(parse_fault, faults), "a stream", lambda _: None)
    said: list[WireMessage] = [*armed.alter_messages("start", None, ["start"])]
    for n in range(20):
        for track in TRACKS:
            if not armed.loses(track, n):
                said += armed.alter_messages("media", track, [f"{track} {n}"])
        armed.delay(n)
    return [*said, *armed.alter_messages("stop", None, ["stop"])]


SAID = ("no-stop", "repeat=40", "reorder=40", "media-before-start=9", "unknown=30", "garbage=30")
HOLDING = ("no-stop", "reorder=40", "media-before-start=9")
TOGETHER = (*SAID, "binary=30", "lose=20", "lose=10", "jitter")


@given(st.permutations(TOGETHER))
def test_the_order_in_which_faults_are_named_changes_nothing(faults: list[str]) -> None:
    assert altered(faults) == altered(TOGETHER)


@given(st.sets(st.sampled_from([*SAID, "jitter", "cut=2"])))
def test_what_one_fault_does_by_chance_hangs_on_no_other(others: set[str]) -> None:
    def lost(faults: Iterable[str]) -> list[bool]:
        armed = FaultSet(map(parse_fault, faults), "a stream", lambda _: None)
        return [armed.loses("inbound", n) for n in range(50)]

    assert lost(["lose=30", *others]) == lost(["lose=30"])


@given(st.sets(st.sampled_from([*SAID[:4], "binary=30"])))
def test_faults_together_lose_nothing_that_none_of_them_loses(faults: set[str]) -> None:
    said = [
        message if isinstance(message, str) else message.decode() for message in altered(faults)
    ]
    everything = {f"{track} {n}" for track in TRACKS for n in range(20)} | {"start"}
    assert set(said) == everything | (set() if "no-stop" in faults else {"stop"})
    assert said.count("start") == 1
    if "no-stop" not in faults:
        assert said[-1] == "stop"


@pytest.mark.parametrize("seconds", [0.06, 0.5], ids=["all held back", "some time"])
@pytest.mark.parametrize("order", list(permutations(HOLDING)), ids=" ".join)
async def test_no_stop_lets_go_of_what_others_hold_back_for_the_stop(
    order: tuple[str, ...], seconds: float, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, *map(parse_fault, order), speak=seconds)
        await faulty_call(lab, *map(parse_fault, HOLDING), speak=seconds)
    heard, same = lab.heard
    assert [text for _, text in heard.messages] == [text for _, text in same.messages]
    frames = round(seconds / 0.02)
    for track in TRACKS:
        times = [int(media["timestamp"]) for _, media in heard.media(track)]
        assert sorted(times) == [20 * n for n in range(frames)]
    assert heard.events().count("start") == 1 and "stop" not in heard.events()
    assert report.passed, str(report)


async def sent_with(faults: Iterable[str]) -> Sent:
    """What a call with *faults* sends into its stream."""
    with pytest.MonkeyPatch.context() as patch:
        without_chance(patch)
        async with open_lab() as lab:
            _, recorder = await faulty_call(lab, *map(parse_fault, faults), speak=1.0)
    return recorder.stream()


async def test_connections_are_wrapped_alike_in_whatever_order(autojump_clock: Clock) -> None:
    faults = ("slow-handshake=0.2", "fragments=3", "ping-flood=2")
    sent = await sent_with(faults)
    for order in permutations(faults):
        assert await sent_with(order) == sent
