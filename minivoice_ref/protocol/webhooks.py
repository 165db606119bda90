"""The webhooks of a call: one envelope for every event, read tolerantly and written as documented.

Known fields have their documented types, and a document that breaks them is refused with every
fault at once. Everything else is the platform's to change: unknown events, statuses and directions
are taken, unknown fields are kept in `extra`, missing optional ones are None. No delivery order is
promised, so `created_at` is there to order by; duplicates happen, so `key` is there to tell them.
Signatures are the matter of `signing.py`; what a call is, of nobody here.

Facts: MiniVoice documentation, webhooks; RFC 3339 for times.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from minivoice_ref.protocol.documents import (
    MAX_PROBLEMS,
    at,
    encode_json,
    faults,
    kind,
    read_json,
    shown,
)
from minivoice_ref.protocol.errors import InvalidDocument, LocalProtocolError, Problem

__all__ = ["EVENTS", "CallEvent", "CallInfo", "format_time", "parse_time", "read_event"]

EVENTS = (
    "call.created",
    "call.answered",
    "call.gathered",
    "call.completed",
    "call.failed",
    "recording.started",
    "recording.completed",
    "recording.failed",
)
"""The documented events. More are accepted."""

_ENDINGS = ("call.completed", "call.failed")
_ENVELOPE = ("event", "created_at", "call", "variables", "data")
_LONGEST_NAME, _LONGEST_VALUE = 128, 4096  # characters of a variable, documented
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_TIME_EXAMPLE = "write RFC 3339 such as 2026-05-29T12:10:00Z"

# Field of CallInfo -> name in the document; all but the id are optional.
_CALL_FIELDS = {
    "id": "id",
    "status": "status",
    "direction": "direction",
    "from_number": "from",
    "to_number": "to",
    "customer_id": "customer_id",
    "application_id": "application_id",
}


@dataclass(frozen=True, slots=True)
class CallInfo:
    """The call that an event speaks of; `extra` keeps the fields that not every event has."""

    id: str
    status: str | None = None
    direction: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    customer_id: str | None = None
    application_id: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The `call` of an envelope, without what is not known."""
        known = {name: getattr(self, attribute) for attribute, name in _CALL_FIELDS.items()}
        return {**self.extra, **{name: value for name, value in known.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One event of a call. `created_at` has a time zone; finer than microseconds it never is."""

    event: str
    created_at: datetime
    call: CallInfo
    variables: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def ends_call(self) -> bool:
        """True for the two events that are a call's last: completed and failed."""
        return self.event in _ENDINGS

    @property
    def key(self) -> str:
        """What duplicates of one event share and different events do not.

        The documentation advises call id and event name. `call.gathered` and the recordings' events
        can repeat within one call, so the time and a digest of the data belong to it as well.
        """
        data = json.dumps(dict(self.data), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(data.encode()).hexdigest()[:32]
        return json.dumps([self.call.id, self.event, format_time(self.created_at), digest])

    def to_json(self) -> dict[str, object]:
        """The documented envelope."""
        return {
            **self.extra,
            "event": self.event,
            "created_at": format_time(self.created_at),
            "call": self.call.to_json(),
            "variables": dict(self.variables),
            "data": dict(self.data),
        }

    def encode(self) -> bytes:
        """The body to deliver and to sign. Raises LocalProtocolError where JSON cannot carry it."""
        return encode_json(self.to_json(), f"the event {self.event}")


def read_event(body: bytes) -> CallEvent:
    """Read the body of a webhook. Raises InvalidDocument, with every fault, for what is none."""
    text = read_json(body)
    problems = list(text.problems)
    event = None
    if text.readable:
        problems.extend(islice(faults(text.document), MAX_PROBLEMS))
        event = _read_envelope(text.document, problems)
    if event is None or problems:
        raise InvalidDocument("the webhook", problems[:MAX_PROBLEMS])
    return event


def format_time(moment: datetime) -> str:
    """*moment* as RFC 3339 in UTC with a `Z`; a fraction only where there is one.

    Raises LocalProtocolError for a time without a zone, which could mean any.
    """
    if moment.tzinfo is None:
        raise LocalProtocolError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time, as UTC, to the microsecond. Raises ValueError for anything else."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not an RFC 3339 time")
    day, minute, second, fraction, sign, hours, minutes = match.groups()
    leap = second == "60"  # RFC 3339 section 5.7 allows it; a datetime does not
    moment = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}")
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        moment += timedelta(seconds=leap, microseconds=int((fraction or "").ljust(6, "0")[:6]))
        moment += offset if sign == "-" else -offset
    except OverflowError:
        raise ValueError(f"{shown(text)} is outside the years 1 to 9999") from None
    return moment.replace(tzinfo=UTC)


def _read_envelope(document: object, problems: list[Problem]) -> CallEvent | None:
    """The event of a document; None, and a problem for each reason, where it cannot be made."""
    if not isinstance(document, dict):
        problems.append(Problem("", f"is {kind(document)}, not an object", "send the envelope"))
        return None
    event = _string(document, "event", "", problems, required=True)
    created_at = _time(document, problems)
    call = _call(document, problems)
    variables = _variables(document, problems)
    data = _object(document, "data", problems)
    if event is None or created_at is None or call is None:
        return None
    extra = {key: value for key, value in document.items() if key not in _ENVELOPE}
    return CallEvent(event, created_at, call, variables, data, extra)


def _call(document: dict[str, object], problems: list[Problem]) -> CallInfo | None:
    if document.get("call") is None:
        problems.append(Problem("call", "is missing", "send the call with its id"))
        return None
    call = _object(document, "call", problems)
    if not isinstance(document["call"], dict):
        return None
    known = {
        attribute: _string(call, name, "call", problems, required=name == "id")
        for attribute, name in _CALL_FIELDS.items()
    }
    call_id = known.pop("id")
    extra = {key: value for key, value in call.items() if key not in _CALL_FIELDS.values()}
    return CallInfo(call_id, **known, extra=extra) if call_id is not None else None


def _time(document: dict[str, object], problems: list[Problem]) -> datetime | None:
    text = _string(document, "created_at", "", problems, required=True)
    try:
        return parse_time(text) if text is not None else None
    except ValueError as exc:
        problems.append(Problem("created_at", str(exc), _TIME_EXAMPLE))
        return None


def _variables(document: dict[str, object], problems: list[Problem]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for name, value in _object(document, "variables", problems).items():
        place = at("variables", name)
        if len(name) > _LONGEST_NAME:
            message = f"its name has {len(name)} characters"
            problems.append(Problem(place, message, f"use at most {_LONGEST_NAME}"))
        if not isinstance(value, str):
            problems.append(Problem(place, f"is {kind(value)}, not a string", "send a string"))
        elif len(value) > _LONGEST_VALUE:
            message = f"has {len(value)} characters"
            problems.append(Problem(place, message, f"use at most {_LONGEST_VALUE}"))
        else:
            variables[name] = value
    return variables


def _object(document: dict[str, object], key: str, problems: list[Problem]) -> dict[str, object]:
    """An optional object; empty where it is missing, null or something else (a problem)."""
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.append(Problem(key, f"is {kind(value)}, not an object", "send an object"))
        return {}
    return value


def _string(
    document: dict[str, object], key: str, path: str, problems: list[Problem], *, required: bool
) -> str | None:
    """A string; None where it is missing or null (a problem if *required*) or something else."""
    value = document.get(key)
    if isinstance(value, str) and (value or not required):
        return value
    if value is not None:
        message = "is empty" if value == "" else f"is {kind(value)}, not a string"
        problems.append(Problem(at(path, key), message, "send a string"))
    elif required:
        problems.append(Problem(at(path, key), "is missing", "send it: every event has one"))
    return None
