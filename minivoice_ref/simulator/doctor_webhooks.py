"""Does the application take the webhooks that are MiniVoice's, and no others?

Four probes, each a documented event in the documented envelope about a call that never was: signed,
unsigned, signed with another secret, and signed long ago. The first must be accepted, the others
refused. All say `call.completed`, so that nothing stays open that somebody may have begun for that
call, and their call ids begin with `call_doctor_`. Without a secret there is nothing to sign with,
and the unsigned one is the one to be accepted.

It must not know where the endpoint is or in which order it is asked. Read next: `doctor.py`.

Facts: MiniVoice documentation, webhooks: any 2xx accepts; signatures are sent only when a secret is
configured. That a timestamp may be too old is good practice, not documented.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import trio

from minivoice_ref.net.connect import FetchError
from minivoice_ref.net.http_client import fetch
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from minivoice_ref.protocol.webhooks import CallEvent, CallInfo
from minivoice_ref.simulator.doctor_checks import Heard, status_mend
from minivoice_ref.simulator.doctor_host import Reach
from minivoice_ref.simulator.doctor_plan import DoctorPlan
from minivoice_ref.simulator.doctor_report import Sheet

__all__ = ["STALE_CHECK", "WEBHOOK_CHECKS", "WebhookProber"]

WEBHOOK_CHECKS = ("signed", "unsigned", "wrong_signature")
STALE_CHECK = "stale_timestamp"

_NO_SECRET = "no secret: set MINIVOICE_WEBHOOK_SECRET or MINIVOICE_WEBHOOK_SECRET_FILE"
_GIVE_SECRET = (
    "if it wants a signature, as it should, set MINIVOICE_WEBHOOK_SECRET"
    " or MINIVOICE_WEBHOOK_SECRET_FILE here and run this again"
)
_UNTRUSTED = "nothing signed is sent where the certificate is not good"
_SAME_SECRET = "use one secret here and there; sign the timestamp, a full stop and the raw body"
_NOT_ACCEPTED = "MV-614"
_REFUSE_UNSIGNED = "answer 401 to what has no signature, before anything is done with it"
_REFUSE_WRONG = "compare the signature with one made over the raw body, and answer 401"
_REFUSE_STALE = "answer 401 to timestamps more than some minutes old: they may be replayed"


class WebhookProber:
    """Sends the probes to one endpoint. `heard` has the responses, for the clock's check."""

    def __init__(
        self, plan: DoctorPlan, url: str, reach: Reach, call_id: str, clock: Callable[[], float]
    ) -> None:
        self._plan = plan
        self._url = url
        self._reach = reach
        self._call_id = call_id
        self._clock = clock
        self._accepts = False  # the good probe was accepted: only then a refusal proves something
        self.heard: list[Heard] = []

    async def check_signed(self, sheet: Sheet) -> None:
        """Is a signed event accepted?"""
        await trio.lowlevel.checkpoint()
        if why := self._cannot_sign():
            sheet.dash(why, "signed")
            return
        await self._expect_accepted(sheet, "signed", self._plan.webhook_secret, _SAME_SECRET)

    async def check_unsigned(self, sheet: Sheet) -> None:
        """Is an unsigned event refused? Or accepted, where there is no secret."""
        if self._plan.webhook_secret is None:
            await self._expect_accepted(sheet, "unsigned", None, _GIVE_SECRET)
        else:
            await self._expect_refused(sheet, "MV-615", "unsigned", None, _REFUSE_UNSIGNED)

    async def check_wrong_signature(self, sheet: Sheet) -> None:
        """Is an event refused that was signed with another secret?"""
        await trio.lowlevel.checkpoint()
        if self._plan.webhook_secret is None:
            sheet.dash(_NO_SECRET, "wrong_signature")
            return
        secret = secrets.token_urlsafe()
        await self._expect_refused(sheet, "MV-616", "wrong_signature", secret, _REFUSE_WRONG)

    async def check_stale(self, sheet: Sheet) -> None:
        """Is an event refused that was signed as it should be, but long ago?"""
        await trio.lowlevel.checkpoint()
        if why := self._cannot_sign():
            sheet.dash(why, STALE_CHECK)
            return
        secret, age = self._plan.webhook_secret, self._plan.stale_by
        await self._expect_refused(sheet, "MV-617", STALE_CHECK, secret, _REFUSE_STALE, age=age)

    def _cannot_sign(self) -> str | None:
        if self._plan.webhook_secret is None:
            return _NO_SECRET
        return None if self._reach.trusted else _UNTRUSTED

    async def _expect_accepted(
        self, sheet: Sheet, name: str, secret: str | None, mend: str
    ) -> None:
        await trio.lowlevel.checkpoint()
        try:
            heard = await self._send(name, secret)
        except FetchError as exc:
            mend = "see what the application's log says"
            sheet.cross(_NOT_ACCEPTED, name, f"{exc.step}: {exc.reason}", mend)
            return
        status = heard.response.status
        if heard.response.ok:
            self._accepts = True
            sheet.tick(name, f"accepted with {status}", heard.seconds)
        else:
            mend = mend if status in (400, 401, 403) else status_mend(status)
            sheet.cross(_NOT_ACCEPTED, name, f"not accepted: answered {status}", mend)

    async def _expect_refused(
        self,
        sheet: Sheet,
        code: str,
        name: str,
        secret: str | None,
        mend: str,
        *,
        age: float = 0.0,
    ) -> None:
        await trio.lowlevel.checkpoint()
        try:
            status = (await self._send(name, secret, age=age)).response.status
        except FetchError as exc:
            sheet.cross(code, name, f"{exc.step}: {exc.reason}", mend)
            return
        if 200 <= status < 300:
            sheet.cross(code, name, f"accepted with {status}", mend)
        elif not self._accepts:
            sheet.dash(f"refused with {status}; but no signed one was accepted", name)
        elif 400 <= status < 500:
            sheet.tick(name, f"refused with {status}")
        else:
            sheet.cross(code, name, f"not refused, but answered with {status}", mend)

    async def _send(self, name: str, secret: str | None, *, age: float = 0.0) -> Heard:
        """Send one probe, signed where there is a *secret*, as if *age* seconds ago."""
        began, started = self._clock(), trio.current_time()
        signed_at = began - age
        body = self._event(name, signed_at).encode()
        headers = [("content-type", "application/json")]
        if secret is not None:
            timestamp = str(int(signed_at))
            headers.append((TIMESTAMP_HEADER, timestamp))
            headers.append((SIGNATURE_HEADER, sign_webhook(secret, timestamp, body)))
        response = await fetch(
            "POST",
            self._url,
            headers=headers,
            body=body,
            connect=self._reach.connect,
            timeouts=self._plan.timeouts,
            limits=self._plan.limits,
        )
        heard = Heard(response, began, self._clock(), trio.current_time() - started)
        self.heard.append(heard)
        return heard

    def _event(self, name: str, moment: float) -> CallEvent:
        """The probe: nobody who reads it in a log takes it for a call's."""
        plan = self._plan.call
        call = CallInfo(
            id=f"{self._call_id}_{name}",
            status="completed",
            direction=plan.direction,
            from_number=plan.from_number,
            to_number=plan.to_number,
            customer_id=plan.customer_id,
            application_id=plan.application_id,
        )
        variables = {"minivoice_ref_doctor": name}
        created_at = datetime.fromtimestamp(int(moment), UTC)
        return CallEvent("call.completed", created_at, call, variables)
