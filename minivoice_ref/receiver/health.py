"""Are we well (`/health`), and shall a balancer send us more calls (`/ready`)?

The first is for whoever wakes people up, the second for whoever shares out calls: a receiver that
drains, or has as many streams as it can carry, is well and wants no more. How much one core carries
nobody knows beforehand, so it is measured: an event loop that turns too late (`ready_lag`) has too
many calls already.

Anybody may ask either: they tell no secrets. Read next: `server.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import trio

from minivoice_ref.net.front_door import RETRY_LATER
from minivoice_ref.net.http import Response
from minivoice_ref.receiver.shared import Shared

__all__ = ["how_it_is", "tell_health", "tell_readiness"]

_NAP = 0.02  # seconds
_HELD_UP = 60.0  # seconds


def how_it_is(shared: Shared) -> dict[str, Any]:
    """How this process is: for `/health`, and for its neighbours."""
    troubles = list(_troubles(shared))
    if shared.journal.trouble is not None:
        troubles.append("the logs cannot be written")
    if (held_up := shared.worker.held_up) >= _HELD_UP:
        troubles.append(f"on_event has not returned for {held_up:.0f} s: no event can begin")
    told = {
        "status": "failing" if troubles else "ok",
        "troubles": troubles,
        "streams": shared.streams,
        "calls": len(shared.calls),
        "refused": shared.overruns.counts,
    }
    if shared.publisher is not None:
        told["media"] = shared.publisher.tell()
    return told


def tell_health(shared: Shared) -> Response:
    """Say whether calls can be served: 200; 503 while webhooks cannot be kept or we drain.

    That is how this process is; how its neighbours said that they are stands beside it.
    """
    commons = shared.commons
    document = {**how_it_is(shared), "node": commons.node, "others": dict(commons.others)}
    is_well = commons.trouble is None and not shared.stop.is_set()
    return Response.json(document, 200 if is_well else 503)


async def tell_readiness(shared: Shared) -> Response:
    """Say whether more calls are welcome: 200, or 503 and why not. Takes a nap of 20 ms to see."""
    config, due = shared.config, trio.current_time() + _NAP
    await trio.sleep_until(due)
    late = max(0.0, trio.current_time() - due)
    reasons = list(_troubles(shared))
    if len(shared.live_streams) >= config.limits.streams:
        reasons.append(f"there are {config.limits.streams} streams already (limits.streams)")
    if late > config.ready_lag:
        reasons.append(f"the event loop turns {late * 1000:.0f} ms late (ready_lag)")
    document = {
        "ready": not reasons,
        "reasons": reasons,
        "streams": len(shared.live_streams),
        "loop_lag_ms": round(late * 1000, 1),
    }
    if reasons:
        return Response.json(document, 503, headers=RETRY_LATER)
    return Response.json(document)


def _troubles(shared: Shared) -> Iterator[str]:
    if shared.stop.is_set():
        yield "about to stop: no new streams"
    if shared.commons.trouble is not None:
        yield "webhooks cannot be stored"
