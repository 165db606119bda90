"""How an application is asked for actions: by the answer_url, and by a `redirect` later on.

The one request of a call whose form MiniVoice does not document. Assumed, and changed by
`CallPlan.answer_method`: a POST with a JSON body that has the call object and the variables; or a
GET with the call's id and its two numbers in the query. A `redirect` names its own method, and is
assumed to ask in the same form.

It must not know what becomes of an answer: `call.py` and `executors.py` run it, `minivoice-ref
check` judges it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlencode, urljoin

import trio

from minivoice_ref.net.connect import Connector, FetchError
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.http_messages import Response
from minivoice_ref.protocol.actions import Action, CheckedAnswer, read_answer
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.redaction import excerpt, redact_url
from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.plan import CallPlan

__all__ = ["Asked", "Method", "ask", "fetch_answer"]

Method: TypeAlias = Literal["GET", "POST"]

_KEEPS_ITS_METHOD = (307, 308)
_REDIRECTIONS = (301, 302, 303, *_KEEPS_ITS_METHOD)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking: an answer, good or not, or why there is none.

    `seconds` is how long it took until the whole response was there; None where it never was.
    """

    checked: CheckedAnswer | None
    fault: str | None = None
    seconds: float | None = None

    @property
    def actions(self) -> list[Action] | None:
        """The list to run; None unless all of it is good."""
        if self.checked is None or not self.checked.valid:
            return None
        return [action for action in self.checked.actions if action is not None]

    @property
    def why_not(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        if self.checked is None:
            return self.fault or "there was no answer"
        return "; ".join(map(str, self.checked.problems))


async def ask(
    context: CallContext, call: CallInfo, url: str, method: Method, *, redirects: int = 0
) -> Asked:
    """Ask *url* what to do with *call*, and check what it says; each step is a moment of the call.

    At most *redirects* HTTP redirects are followed. Whatever the other side does is in the result.
    """
    began, limit = context.elapsed(), context.plan.limits.log_excerpt
    while True:
        context.note("answer", f"{method} {excerpt(redact_url(url), limit)}")
        try:
            response = await fetch_answer(
                context.plan, call, context.connect, url=url, method=method
            )
        except (FetchError, LocalProtocolError) as exc:
            context.note("answer", f"no answer: {exc}")
            await trio.lowlevel.checkpoint()
            return Asked(None, str(exc))
        seconds = context.elapsed() - began
        quoted = excerpt(response.body.decode("utf-8", "replace"), limit)
        context.note("answer", f"{response.status} in {seconds * 1000:.0f} ms: {quoted}")
        location = response.header("location")
        if redirects < 1 or response.status not in _REDIRECTIONS or location is None:
            whose = "the answer_url" if url == context.plan.answer_url else "it"
            return _checked(context, response, seconds, whose)
        redirects -= 1
        try:
            url = urljoin(url, location)
        except ValueError:
            context.note(
                "answer", f"no answer: it leads to {excerpt(location, limit)!r}, which is no URL"
            )
            return Asked(None, "it was redirected to what is no URL", seconds)
        # What browsers do, and RFC 9110 section 15.4 allows: only these two repeat a POST.
        method = method if response.status in _KEEPS_ITS_METHOD else "GET"


def _checked(context: CallContext, response: Response, seconds: float, whose: str) -> Asked:
    if not response.ok:
        return Asked(None, f"{whose} answered {response.status}", seconds)
    checked = read_answer(response.body)
    for problem in checked.problems:
        context.note("answer", f"fault: {problem}")
    for warning in checked.warnings:
        context.note("answer", f"warning: {warning}")
    return Asked(checked, None, seconds)


async def fetch_answer(
    plan: CallPlan,
    call: CallInfo,
    connect: Connector,
    *,
    url: str | None = None,
    method: Method | None = None,
) -> Response:
    """Ask *url* (the plan's answer_url) once what to do with *call*; return its response.

    Raises FetchError, which names the step that failed, and LocalProtocolError for a URL that HTTP
    cannot carry. If cancelled, the connection is closed.
    """
    about = call.to_json()
    url, method = url or plan.answer_url, method or plan.answer_method
    body = None
    headers = [("accept", "application/json")]
    if method == "GET":
        query = urlencode({"call_id": about["id"], "from": about["from"], "to": about["to"]})
        url, hash, fragment = url.partition("#")
        url += ("&" if "?" in url else "?") + query + hash + fragment
    else:
        body = json.dumps({"call": about, "variables": dict(plan.variables)}).encode()
        headers.append(("content-type", "application/json"))
    return await fetch(
        method,
        url,
        headers=headers,
        body=body,
        connect=connect,
        timeouts=plan.timeouts,
        limits=plan.limits,
    )
