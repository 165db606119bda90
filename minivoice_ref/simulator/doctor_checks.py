"""Does the application answer well, and do its streams let in whom they should?

Each check asks one thing. The answer_url is asked twice, as for two calls, since a deployment with
several instances may answer well by chance; what differs between the two stream URLs is what ties
a stream to its call, and that is what a forged URL has wrong.

It must not know webhooks (`doctor_webhooks.py`), nor in which order it is used (`doctor.py`).

Facts: MiniVoice documentation: the answer is to be fast, valid and deterministic; the receiver
accepts the connection and authenticates its source. Assumption: whoever is refused hears so before
the upgrade, by an HTTP status of the 400s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import trio

from minivoice_ref.net.connect import FetchError
from minivoice_ref.net.http_messages import Response
from minivoice_ref.net.media_socket import SocketClosed
from minivoice_ref.net.websocket import MediaSocket, UpgradeRefused, open_connected
from minivoice_ref.protocol.actions import CheckedAnswer, read_answer
from minivoice_ref.protocol.redaction import redact_path
from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.asking import fetch_answer
from minivoice_ref.simulator.doctor_host import Reach
from minivoice_ref.simulator.doctor_plan import DoctorPlan
from minivoice_ref.simulator.doctor_report import Sheet

__all__ = ["ANSWER_CHECKS", "SOCKET_CHECKS", "Heard", "check_again", "check_answer"]
__all__ += ["check_clock", "check_forged_token", "check_upgrade", "forge", "stream_urls"]
__all__ += ["status_mend"]

ANSWER_CHECKS = ("valid", "fast", "again")
SOCKET_CHECKS = ("upgrade", "wrong_token")

_HEXADECIMAL = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
_LISTED = 3  # problems of an answer that a row names
_MENDS = {
    301: "give the URL that it leads to: that MiniVoice follows redirects is not documented",
    401: "let MiniVoice in: it brings no login",
    403: "let MiniVoice in: it brings no login",
    404: "correct the path, in the URL or in the application's routes",
    405: "accept the method, or try the other --answer-method",
    413: "accept bodies of a few kilobytes",
    429: "let MiniVoice's requests pass the rate limit",
}
_MENDS |= dict.fromkeys((302, 303, 307, 308), _MENDS[301])
_UPGRADE_MENDS = {
    400: "have each proxy on the way pass Upgrade and Connection on, by HTTP/1.1",
    401: "have the receiver accept the token that answer_url minted: one key for all instances",
    404: "lead the path of the stream_url to the receiver",
    429: "raise the limit of connections",
}
_UPGRADE_MENDS |= {403: _UPGRADE_MENDS[401]}
_UPGRADE_MENDS |= dict.fromkeys((200, 426), _UPGRADE_MENDS[400])


@dataclass(frozen=True, slots=True)
class Heard:
    """A response, and when it was asked for and there, in Unix seconds and in seconds it took."""

    response: Response
    began: float
    ended: float
    seconds: float


def status_mend(status: int) -> str:
    """What to do about an endpoint that answers *status* where it should accept."""
    other = "see what the application's log says" if status >= 500 else "answer with a 2xx"
    return _MENDS.get(status, other)


async def check_answer(
    sheet: Sheet, reach: Reach, plan: DoctorPlan, call: CallInfo, clock: Callable[[], float]
) -> tuple[Heard | None, CheckedAnswer | None]:
    """Is there a valid answer, and is it fast? It is None where it is not valid."""
    await trio.lowlevel.checkpoint()
    began, started = clock(), trio.current_time()
    try:
        response = await fetch_answer(plan.call, call, reach.connect)
    except FetchError as exc:
        mend = "see whether the application answers at all, and in time"
        sheet.cross("MV-108", "valid", f"{exc.step}: {exc.reason}", mend)
        sheet.dash("there was no answer", "fast")
        return None, None
    heard = Heard(response, began, clock(), trio.current_time() - started)
    answer = _check_valid(sheet, response)
    _check_fast(sheet, heard.seconds, plan.fast_answer)
    return heard, answer


def _check_valid(sheet: Sheet, response: Response) -> CheckedAnswer | None:
    if not response.ok:
        sheet.cross("MV-108", "valid", f"answered {response.status}", status_mend(response.status))
        return None
    answer = read_answer(response.body)
    if not answer.valid:
        problems = answer.problems
        more = f", and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        listed = [f"{problem.path or 'body'}: {problem.message}" for problem in problems[:_LISTED]]
        mends = "; ".join(dict.fromkeys(problem.mend for problem in problems[:_LISTED]))
        sheet.cross("MV-108", "valid", "; ".join(listed) + more, mends)
        return None
    names = ", ".join(action.type for action in answer.actions if action) or "no action"
    warned = [f"; {warning.path}: {warning.message}" for warning in answer.warnings[:_LISTED]]
    sheet.tick("valid", names + "".join(warned))
    return answer


def _check_fast(sheet: Sheet, seconds: float, allowed: float) -> None:
    if seconds <= allowed:
        sheet.tick("fast", f"within {allowed:g} s", seconds)
    else:
        mend = "decide from memory: no database, no other service before the answer"
        sheet.cross("MV-109", "fast", f"took longer than {allowed:g} s", mend, seconds)


async def check_again(
    sheet: Sheet, reach: Reach, plan: DoctorPlan, call: CallInfo, first: CheckedAnswer | None
) -> CheckedAnswer | None:
    """Does a second call get a valid answer too?"""
    await trio.lowlevel.checkpoint()
    mend = "have every instance answer every call, at once and alike"
    try:
        response = await fetch_answer(plan.call, call, reach.connect)
    except FetchError as exc:
        sheet.cross("MV-110", "again", f"a second call got none: {exc.step}: {exc.reason}", mend)
        return None
    answer = read_answer(response.body)
    if not response.ok or not answer.valid:
        if first is None:
            sheet.dash("a second call fared no better", "again")
        else:
            said = f"a second call got {response.status} and no valid answer"
            sheet.cross("MV-110", "again", said, mend)
        return None
    if first is None:
        sheet.cross(
            "MV-110", "again", "a second call got a valid answer, the first one did not", mend
        )
    else:
        same = _types(first) == _types(answer)
        sheet.tick("again", f"a second call got {'the same' if same else 'other'} actions")
    return answer


def _types(answer: CheckedAnswer) -> list[str]:
    return [action.type for action in answer.actions if action]


def stream_urls(answer: CheckedAnswer) -> list[str]:
    """The URLs that the answer's `start_stream` actions name, each once, in order."""
    urls = [
        str(action.parameters["stream_url"])
        for action in answer.actions
        if action and action.type == "start_stream"
    ]
    return list(dict.fromkeys(urls))


async def check_upgrade(sheet: Sheet, reach: Reach, url: str, plan: DoctorPlan) -> bool:
    """Is a WebSocket accepted at the URL that the answer gave? It is closed again at once."""
    await trio.lowlevel.checkpoint()
    began = trio.current_time()
    took = 0.0
    try:
        async with _open(reach, url, plan):
            took = trio.current_time() - began
    except UpgradeRefused as exc:
        mend = _UPGRADE_MENDS.get(exc.status, "see what the receiver's log says")
        sheet.cross("MV-312", "upgrade", f"answered {exc.status}: {exc.reason}", mend)
        return False
    except FetchError as exc:
        mend = "see what the receiver's log says, and whether a proxy waits for something"
        sheet.cross("MV-312", "upgrade", f"{exc.step}: {exc.reason}", mend)
        return False
    sheet.tick("upgrade", "101 with its own token", took)
    return True


async def check_forged_token(
    sheet: Sheet, reach: Reach, url: str, other: str | None, opened: bool, plan: DoctorPlan
) -> None:
    """Is a URL with a wrong token refused, and before the upgrade?

    *other* is the URL that another call got. Where the good URL was not *opened* either, a refusal
    proves nothing.
    """
    await trio.lowlevel.checkpoint()
    name, mend = "wrong_token", "check the token before the upgrade and answer 403"
    forged = forge(url, other)
    if forged is None:
        why = "the stream_url is the same for every call and has no token"
        sheet.dash(why if other else "no second stream_url shows what in it is a token", name)
        return
    try:
        async with _open(reach, forged, plan) as socket:
            closed = await _closed_with(socket, plan)
    except UpgradeRefused as exc:
        if exc.status == 101 or exc.status >= 500:
            sheet.cross("MV-208", name, f"not refused, but answered with {exc.status}", mend)
        elif opened:
            sheet.tick(name, f"refused with {exc.status}")
        else:
            sheet.dash(f"refused with {exc.status}; but so was its own", name)
    except FetchError as exc:
        sheet.cross("MV-208", name, f"{exc.step}: {exc.reason}", mend)
    else:
        sheet.cross("MV-208", name, "let in with 101" + closed, mend)


def forge(url: str, other: str | None) -> str | None:
    """*url* with another token of the same form; None where it has none.

    The token is what differs from *other*, the URL of another call, and what the query has under
    a secret's name.
    """
    ours, theirs = urlsplit(url), urlsplit(other if other is not None else url)
    segments, counterparts = ours.path.split("/"), theirs.path.split("/")
    if len(segments) == len(counterparts):
        pairs = zip(segments, counterparts, strict=True)
        path = "/".join(mine if mine == its else _twist(mine) for mine, its in pairs)
    else:
        path = "/".join([*segments[:-1], _twist(segments[-1])])
    known = set(theirs.query.split("&"))
    fields = ours.query.split("&")
    query = "&".join(
        field if field in known and not _is_secret(field) else _twist_value(field)
        for field in fields
    )
    forged = ours._replace(path=path, query=query).geturl()
    return forged if forged != ours.geturl() else None


def check_clock(sheet: Sheet, heard: list[Heard], most: float) -> None:
    """Do the application's clock and ours agree? By the first Date header that can be read."""
    for response in heard:
        try:
            said = parsedate_to_datetime(response.response.header("date") or "")
            date = said.timestamp()
        except (ValueError, OverflowError):
            continue
        # A Date has whole seconds, and was written between our question and its answer.
        ahead, behind = date - response.ended, response.began - (date + 1)
        skew = max(ahead, behind, 0.0)
        if skew > most:
            side = "ahead of" if ahead > behind else "behind"
            off = f"{timedelta(seconds=round(skew))} {side} ours; {most:g} s are allowed"
            sheet.cross("MV-807", "skew", f"its clock is {off}", "have both machines set by NTP")
        else:
            sheet.tick("skew", f"its clock agrees with ours within {max(skew, 1):.0f} s")
        return
    sheet.dash("no response with a Date to compare with", "skew")


def _open(reach: Reach, url: str, plan: DoctorPlan) -> AbstractAsyncContextManager[MediaSocket]:
    return open_connected(url, connect=reach.connect, limits=plan.limits, timeouts=plan.timeouts)


async def _closed_with(socket: MediaSocket, plan: DoctorPlan) -> str:
    """How the receiver closed it, if it did within `timeouts.close` seconds."""
    with trio.move_on_after(plan.timeouts.close):
        try:
            while True:
                await socket.receive()
        except SocketClosed as exc:
            await trio.lowlevel.checkpoint()
            return f", then closed with {exc.code}"
    return ""


def _is_secret(field: str) -> bool:
    return redact_path(f"?{field}") != f"?{field}"


def _twist_value(field: str) -> str:
    name, equals, value = field.partition("=")
    return name + equals + _twist(value)


def _twist(text: str) -> str:
    """Another text of the same form: each letter and digit is moved within its kind."""
    text = re.sub(r"%[0-9A-Fa-f]{2}", "a", text)
    letters = 6 if _HEXADECIMAL.fullmatch(text) else 26
    return "".join(_moved(character, letters) for character in text)


def _moved(character: str, letters: int) -> str:
    for first, size in (("0", 10), ("a", letters), ("A", letters)):
        place = ord(character) - ord(first)
        if 0 <= place < size:
            return chr(ord(first) + (place + size // 2) % size)
    return character
