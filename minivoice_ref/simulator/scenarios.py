"""The scenarios of the conformance suite: what is tried, and what must hold of any receiver.

Adding one means adding one entry here. Every fault of the catalogue is one by itself.

It must not know how a trial is made, nor how a result is shown. Read next: `conformance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minivoice_ref.simulator.conformance_evidence import Judge, Trial
from minivoice_ref.simulator.conformance_judges import (
    PROMPT,
    judge_asked,
    judge_cut,
    judge_duplicates,
    judge_fault,
    judge_forged,
    judge_form,
    judge_good,
    judge_order,
    judge_prompt,
    judge_redirect,
    judge_stop,
    judge_track,
    judge_two,
    judge_unsigned,
)
from minivoice_ref.simulator.faults import FAULTS, parse_fault

__all__ = ["GOOD", "SCENARIOS", "SHORTEST", "Scenario"]

SHORTEST = 1.2
"""Seconds that the parties must speak at least: some faults strike a second into a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that must hold of a receiver.

    `documented` says where MiniVoice's documentation, or an RFC, has the fact; `assumed` what of it
    is our assumption, empty where nothing is; `unseen` what nobody sees from MiniVoice's side and
    only the receiver's own log can tell. Without a stream in the good call, those that have
    `needs_stream` are not tried, and so on. `lasts` has it begin before the others.
    """

    name: str
    must_hold: str
    documented: str
    judge: Judge
    trial: Trial = Trial()
    assumed: str = ""
    unseen: str = ""
    needs_stream: bool = True
    needs_webhooks: bool = False
    needs_secret: bool = False
    lasts: bool = False


_ACTIONS = "MiniVoice documentation, actions"
_ANSWER = "MiniVoice documentation, answer_url"
_STREAMS = "MiniVoice documentation, media streams"
_WEBHOOKS = "MiniVoice documentation, webhooks"
_NOWHERE = "not documented"
_AUDIO = "the audio"

GOOD = Scenario(
    name="good-call",
    must_hold="valid action, wss URL, accepted, media flows, closed with 1000, call.completed",
    documented=f"{_STREAMS}: the test to pass, in the debug order",
    judge=judge_good,
    unseen=_AUDIO,
    needs_stream=False,
)

_CUT = Trial(faults=(parse_fault("cut=0.5"),))

_OWN = (
    GOOD,
    *(
        Scenario(
            name=f"track-{track}",
            must_hold=f"a stream asked for with track {track} is taken to its end",
            documented=f"{_STREAMS}: track is inbound, outbound or both",
            judge=judge_track(track),
            assumed="one socket carries both tracks" if track == "both" else "",
            unseen="the tracks' audio" if track == "both" else "",
            needs_stream=False,
        )
        for track in ("inbound", "outbound", "both")
    ),
    *(
        Scenario(
            name=f"form-{form}",
            must_hold=f"{form} actions in the answer are taken",
            documented=f"{_ACTIONS}: two forms, which may be mixed",
            judge=judge_form(form),
            trial=Trial(ask="plan"),
            needs_stream=False,
        )
        for form in ("typed", "keyed")
    ),
    *(
        Scenario(
            name=f"answer-{method.lower()}",
            must_hold=f"the answer_url answers a {method} with a valid action list",
            documented=f"{_ANSWER}: valid JSON with actions",
            judge=judge_asked,
            trial=Trial(ask="GET" if method == "GET" else "POST"),
            assumed="the method and what is in the request are not documented",
            needs_stream=False,
        )
        for method in ("POST", "GET")
    ),
    Scenario(
        name="prompt",
        must_hold=f"the answer and each acknowledgement come within {PROMPT:g} s",
        documented=f"{_ANSWER}: keep it fast; {_WEBHOOKS}: slow work afterwards",
        judge=judge_prompt,
        assumed="the figure",
        needs_stream=False,
    ),
    Scenario(
        name="redirect-then-stop",
        must_hold="the list that a redirect fetches is good, and its stop_stream is run",
        documented=f"{_ACTIONS}: redirect",
        judge=judge_redirect,
        assumed="method, headers and body of the request",
        needs_stream=False,
    ),
    Scenario(
        name="stop-keeps-call",
        must_hold="stop_stream ends the stream with 1000; the call goes on to call.completed",
        documented=f"{_STREAMS}: stop_stream",
        judge=judge_stop,
    ),
    Scenario(
        name="cut-keeps-call",
        must_hold="call.completed is acknowledged although the stream was cut",
        documented=f"{_STREAMS}: the call goes on, and call.completed still arrives",
        judge=judge_cut,
        trial=_CUT,
        needs_webhooks=True,
    ),
    Scenario(
        name="duplicate-webhooks",
        must_hold="an event that comes again is acknowledged again",
        documented=f"{_WEBHOOKS}: duplicates happen, be idempotent",
        judge=judge_duplicates,
        trial=Trial(duplicate=True),
        unseen="how often it was handled",
        needs_webhooks=True,
        needs_stream=False,
    ),
    Scenario(
        name="reordered-webhooks",
        must_hold="events are acknowledged in any order",
        documented=f"{_WEBHOOKS}: no delivery order is promised",
        judge=judge_order,
        trial=Trial(reorder=True),
        unseen="the order made of them",
        needs_webhooks=True,
        needs_stream=False,
    ),
    Scenario(
        name="unsigned-webhooks",
        must_hold="an event without a signature is refused with a status of the 400s",
        documented=f"{_WEBHOOKS}: signed where a secret is configured",
        judge=judge_unsigned,
        trial=Trial(unsigned=True),
        assumed="the status",
        needs_webhooks=True,
        needs_secret=True,
        needs_stream=False,
    ),
    Scenario(
        name="two-calls",
        must_hold="two calls at once both go well, each with a stream_url of its own",
        documented=f"{_STREAMS}: the answer names the stream_url",
        judge=judge_two,
        trial=Trial(calls=2),
        assumed="on the wire nothing is sure to name the call, so only the URL tells them apart",
        unseen="the audio",
    ),
)

_WITH: Mapping[str, str] = (
    {name: f"{name}=20" for name in ("lose", "repeat", "reorder")}
    | {name: f"{name}=25" for name in ("unknown", "garbage", "binary")}
    | {"cut": "cut=0.5", "vanish": "vanish=0.5"}
)
"""How a fault is tried whose default is too mild or too late for streams of a second or two."""

_LONGER: Mapping[str, float] = {
    "stall": 2.0,
    "slow-handshake": 2.0,
    "oversized": 0.5,
    "vanish": 0.5,
}
"""Seconds more that the parties speak, so that the fault leaves something of the stream."""

_LASTING = ("vanish", "half-open-tls", "no-close")

_SOURCES: Mapping[str, str] = {
    "cut": f"{_STREAMS}: the stream fails, the call goes on",
    "vanish": f"{_STREAMS}: close resources when the stream ends",
    "no-close": f"{_STREAMS}: close resources when the stream ends",
    "no-stop": "RFC 6455 section 5.5.1",
    "garbage": "RFC 6455 section 7.4.1: the codes",
    "binary": "RFC 6455 sections 5.6 and 7.4.1",
    "oversized": "RFC 6455 section 7.4.1: 1009",
    "wrong-token": f"{_STREAMS}: authenticate the source",
    "fragments": "RFC 6455 section 5.4",
    "ping-flood": "RFC 6455 section 5.5.3",
    "wrong-signature": f"{_WEBHOOKS}: signature, retries",
    "stale-timestamp": f"{_WEBHOOKS}: the signed timestamp",
    "webhook-first": f"{_STREAMS}: kept apart from webhook processing",
    "webhook-at-cut": f"{_STREAMS}: kept apart from webhook processing",
}
_WIRE = "the stream's wire is not documented"
_WIRE_FAULTS = frozenset(
    "lose repeat reorder media-before-start no-stop unknown garbage binary jitter stall".split()
)


def _of_fault(name: str) -> Scenario:
    """The scenario of the fault *name*: what its class says a good receiver does."""
    fault = parse_fault(_WITH.get(name, name))
    assumed = "; ".join(filter(None, (fault.assumed, _WIRE if name in _WIRE_FAULTS else "")))
    source = _SOURCES.get(name, _NOWHERE)
    if source == _NOWHERE and not assumed:
        assumed = "what a good receiver does"
    return Scenario(
        name=name,
        must_hold=fault.expects,
        documented=source,
        judge=judge_forged if fault.needs_secret else judge_fault,
        trial=Trial(faults=(fault,), longer=_LONGER.get(name, 0.0)),
        assumed=assumed,
        unseen="" if fault.needs_secret or name in ("wrong-token", *_LASTING) else _AUDIO,
        needs_stream=not fault.needs_secret,
        needs_webhooks=name.startswith("webhook") or fault.needs_secret,
        needs_secret=fault.needs_secret,
        lasts=name in _LASTING,
    )


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario for scenario in (*_OWN, *map(_of_fault, FAULTS))
}
"""Every scenario by its name, in the order in which they are shown."""
