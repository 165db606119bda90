"""Faults of the webhooks: forged ones, and those that come when nobody expects them.

A forged delivery is the first attempt of each event. A good receiver refuses it; it is then sent
again as it should be, as the documentation says of every delivery that was not accepted.

Facts: MiniVoice documentation, webhooks: the signature, the retries, that no order is promised.
Read next: `faults.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import trio

from minivoice_ref.simulator.fault import Fault, Line, Outlook, Seal, StreamCut

__all__ = ["StaleTimestamp", "WebhookAtCut", "WebhookFirst", "WrongSignature"]


class WrongSignature(Fault, name="wrong-signature"):
    """Signs the first attempt of each webhook with another secret."""

    summary = "the first attempt of each webhook is signed with a wrong secret"
    expects = "it is refused with a status of the 400s; the second attempt is accepted"
    needs_secret = True

    def forge(self, seal: Seal, attempt: int) -> Seal:
        if attempt > 1:
            return seal
        return dataclasses.replace(
            seal, secret=f"not {seal.secret}", forged_by=(*seal.forged_by, str(self))
        )


class StaleTimestamp(Fault, name="stale-timestamp"):
    """Signs the first attempt of each webhook properly, but long ago: a replay."""

    summary = "the first attempt of each webhook is signed as if SECONDS ago: a replay"
    expects = "it is refused with a status of the 400s; the second attempt is accepted"
    assumed = "a receiver checks the timestamp's age, and the tolerance is less than the value"
    needs_secret = True
    unit, default, least, most = "seconds", 3600.0, 1.0, 1e9

    def forge(self, seal: Seal, attempt: int) -> Seal:
        if attempt > 1:
            return seal
        past = seal.timestamp - int(self.value)
        return dataclasses.replace(seal, timestamp=past, forged_by=(*seal.forged_by, str(self)))


class WebhookFirst(Fault, name="webhook-first"):
    """Opens the stream only when every webhook so far has been delivered."""

    summary = "the stream is opened SECONDS after all webhooks so far were delivered"
    expects = "the two are put together whichever comes first"
    unit, default, most = "seconds", 0.2, 600.0

    async def before_stream(self, webhooks_tried: Callable[[], Awaitable[None]]) -> None:
        await webhooks_tried()
        await trio.sleep(self.value)


class WebhookAtCut(Fault, name="webhook-at-cut"):
    """Has the call's last webhook go out while the stream still hangs, and then breaks."""

    summary = "call.completed is sent, and SECONDS later the unstopped stream is cut"
    expects = "the webhook is acknowledged whatever becomes of the stream"
    unit, default, most = "seconds", 0.1, 600.0
    outlook = Outlook.BREAKS

    async def before_stop(self, line: Line) -> None:
        line.finished.set()
        await trio.sleep(self.value)
        await line.socket.abort()
        raise StreamCut(f"cut by the fault {self} while call.completed was delivered")
