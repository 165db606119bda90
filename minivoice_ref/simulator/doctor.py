"""The doctor: is a deployed application ready for MiniVoice's calls? Asked without placing one.

It comes by as MiniVoice would: looks the hosts up, connects, shakes hands, asks the answer_url,
opens the stream that the answer names and closes it again, delivers webhooks, and compares clocks.
Then it does what MiniVoice never would, and must be refused: a wrong token, no signature, a wrong
one, an old one. What failed and whatever does not need it are told apart.

    nursery                            each wait under its own deadline of `timeouts`
    ├─ answer_url: host, answers, then each stream_url: host, upgrade, wrong token
    └─ webhook_url: host
    then the probes of the webhook_url, one after the other, and the clock

The probes wait for the streams: they say that a call is over, and some application may end all it
has at that. It must not know how a check is made. Read next: `doctor_host.py`, `doctor_checks.py`,
`doctor_webhooks.py`, in the order of the visit; `doctor_report.py` for what comes out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

import trio

from minivoice_ref.net.connect import Target
from minivoice_ref.net.tls import client_context
from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.doctor_checks import (
    ANSWER_CHECKS,
    SOCKET_CHECKS,
    Heard,
    check_again,
    check_answer,
    check_clock,
    check_forged_token,
    check_upgrade,
    stream_urls,
)
from minivoice_ref.simulator.doctor_host import HOST_CHECKS, Reach, examine_host
from minivoice_ref.simulator.doctor_plan import DoctorPlan
from minivoice_ref.simulator.doctor_report import Examination, Sheet
from minivoice_ref.simulator.doctor_webhooks import STALE_CHECK, WEBHOOK_CHECKS, WebhookProber

__all__ = ["DoctorPlan", "Examination", "examine"]

_MOST_STREAMS = 4  # of one answer that are looked at
_NO_HOST = "the host cannot be reached"


async def examine(plan: DoctorPlan, *, clock: Callable[[], float] = time.time) -> Examination:
    """Examine the application of *plan* over real sockets; return all that was found.

    What is wrong with the application is in the result and never raised. Raises ConfigError where
    the plan's `ca` cannot be used. If cancelled, every connection is closed. *clock* tells Unix
    seconds.
    """
    client_context(plan.ca)  # here, where its fault is not yet inside a nursery's group
    visit = _Visit(plan, clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visit.answer_and_streams)
        nursery.start_soon(visit.webhook_host)
    await visit.webhooks_and_clock()
    sheets = [visit.answer, *visit.streams, visit.webhooks, visit.clock]
    return Examination(visit.call_id, sheets)


class _Visit:
    """One examination under way: its sheets, and what later checks need of earlier ones."""

    def __init__(self, plan: DoctorPlan, clock: Callable[[], float]) -> None:
        self._plan = plan
        self._now = clock
        self._heard: list[Heard] = []
        self._hosts: dict[tuple[str, int, bool], Reach | None] = {}  # those of the answer's arm
        self._answer_target = Target.of(plan.answer_url, "https", "http")
        self._webhook_reach: Reach | None = None
        moment = datetime.fromtimestamp(clock(), UTC)
        self.call_id = f"call_doctor_{moment:%Y%m%dT%H%M%S}_{secrets.token_hex(4)}"
        self.answer = Sheet("answer_url", plan.answer_url)
        self.streams: list[Sheet] = []
        self.webhooks = Sheet("webhook_url", plan.webhook_url)
        self.clock = Sheet("clock")

    async def answer_and_streams(self) -> None:
        """Check the answer_url, then the streams of its answer."""
        reach = await examine_host(self.answer, self._answer_target, self._plan, self._now())
        self._hosts[_place(self._answer_target)] = reach
        if reach is None:
            self.answer.dash(_NO_HOST, *ANSWER_CHECKS)
            self._no_stream("there was no answer")
            return
        call = self._call("")
        heard, answer = await check_answer(self.answer, reach, self._plan, call, self._now)
        self._heard += [heard] if heard else []
        other = await check_again(self.answer, reach, self._plan, self._call("_again"), answer)
        if answer is None and other is None:
            self._no_stream("there was no valid answer")
            return
        both = [stream_urls(one) for one in (answer, other) if one is not None]
        await self._all_streams(both[0], both[1] if len(both) == 2 else [])

    async def _all_streams(self, urls: list[str], others: list[str]) -> None:
        await trio.lowlevel.checkpoint()
        if not urls:
            self._no_stream("the answer has no start_stream")
        for index, url in enumerate(urls[:_MOST_STREAMS]):
            other = others[index] if index < len(others) else None
            sheet = Sheet("stream_url" + (f"_{index + 1}" if index else ""), url)
            self.streams.append(sheet)
            await self._stream(sheet, url, other)

    async def _stream(self, sheet: Sheet, url: str, other: str | None) -> None:
        await trio.lowlevel.checkpoint()
        target = Target.of(url, "wss")  # an action that is valid has such a URL
        place = _place(target)
        if place in self._hosts:
            sheet.dash("the same host and port as above", *HOST_CHECKS)
        else:
            self._hosts[place] = await examine_host(sheet, target, self._plan, self._now())
        reach = self._hosts[place]
        if reach is None:
            sheet.dash(_NO_HOST, *SOCKET_CHECKS)
            return
        opened = await check_upgrade(sheet, reach, url, self._plan)
        await check_forged_token(sheet, reach, url, other, opened, self._plan)

    async def webhook_host(self) -> None:
        """Check the host of the webhook_url, unless it is that of the answer_url."""
        await trio.lowlevel.checkpoint()
        if self._plan.webhook_url is None:
            return
        target = Target.of(self._plan.webhook_url, "https", "http")
        if _place(target) == _place(self._answer_target):
            self.webhooks.dash("the same host and port as answer_url", *HOST_CHECKS)
        else:
            self._webhook_reach = await examine_host(self.webhooks, target, self._plan, self._now())

    async def webhooks_and_clock(self) -> None:
        """Probe the webhook_url, and compare the clocks."""
        await trio.lowlevel.checkpoint()
        prober = self._prober()
        if prober is None:
            self._no_probes()
        else:
            await prober.check_signed(self.webhooks)
            await prober.check_unsigned(self.webhooks)
            await prober.check_wrong_signature(self.webhooks)
            self._heard += prober.heard
        check_clock(self.clock, self._heard, self._plan.clock_skew)
        if prober is None:
            self.clock.dash("no webhook can be sent", STALE_CHECK)
        else:
            await prober.check_stale(self.clock)

    def _prober(self) -> WebhookProber | None:
        url = self._plan.webhook_url
        if url is None:
            return None
        place = _place(Target.of(url, "https", "http"))
        reach = self._webhook_reach
        if place == _place(self._answer_target):
            reach = self._hosts[place]
        return WebhookProber(self._plan, url, reach, self.call_id, self._now) if reach else None

    def _no_probes(self) -> None:
        if self._plan.webhook_url is None:
            self.webhooks.dash("no webhook_url was given", *HOST_CHECKS, *WEBHOOK_CHECKS)
        else:
            self.webhooks.dash(_NO_HOST, *WEBHOOK_CHECKS)

    def _no_stream(self, why: str) -> None:
        sheet = Sheet("stream_url")
        sheet.dash(why, *HOST_CHECKS, *SOCKET_CHECKS)
        self.streams.append(sheet)

    def _call(self, suffix: str) -> CallInfo:
        plan = self._plan.call
        return CallInfo(
            id=self.call_id + suffix,
            status="dialing",
            direction=plan.direction,
            from_number=plan.from_number,
            to_number=plan.to_number,
        )


def _place(target: Target) -> tuple[str, int, bool]:
    return target.host, target.port, target.tls
