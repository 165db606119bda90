"""What came of a call: the moments while it happens, and the verdict at its end.

The verdict follows the order in which MiniVoice's documentation tells people to debug a stream:
is the action valid, is the URL `wss`, does the receiver accept a WebSocket connection, does media
flow; then what the receiver must do at the end, and whether the call's final result arrived
although it may have failed.

It must not know how a call is placed: it judges what it is given. Read next: `call.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.simulator.fault import Finding
from minivoice_ref.simulator.lateness import Lateness

__all__ = [
    "STEPS",
    "ActionResult",
    "CallReport",
    "Moment",
    "Outcome",
    "Step",
    "StreamReport",
    "Sums",
    "WebhookReport",
    "Who",
]

Who: TypeAlias = Literal["platform", "answer", "stream", "webhook"]
"""Whose moment it is: the call itself, the answer_url, a stream, a webhook."""

Outcome: TypeAlias = Literal["accepted", "rejected", "failed", "skipped"]
"""Rejected is what has faults and is never run; failed is what was run."""

STEPS = (
    "answer_valid",
    "url_is_wss",
    "receiver_accepted",
    "media_flowed",
    "stream_closed",
    "call_completed",
)
"""The names of a report's steps, in the documented debug order."""

_SIGNS: Mapping[bool | None, str] = {True: "ok", False: "FAIL", None: "–"}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: `at` seconds after the call began, to whom, and what in words."""

    at: float
    who: Who
    text: str

    def __str__(self) -> str:
        return f"{self.at:8.3f}  {self.who:<8}  {self.text}"


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What became of one action: `detail` is the documented result, the faults, or why.

    `list` is the number of its list: 0 is the answer's, each redirect brings another.
    """

    index: int
    type: str
    outcome: Outcome
    detail: str
    list: int = 0

    def __str__(self) -> str:
        said = f"actions[{self.index}] {self.type}: {self.outcome}: {self.detail}"
        return f"list {self.list + 1}, {said}" if self.list else said


@dataclass(frozen=True, slots=True)
class Step:
    """One question of the debug order and its answer: `ok` is None where it does not apply."""

    name: str
    ok: bool | None
    detail: str

    def to_json(self) -> dict[str, object]:
        """The step as the command line's `--json` prints it: `ok` is null for a dash."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Sums:
    """How much audio of one track: frames (messages) and samples."""

    frames: int = 0
    samples: int = 0

    def to_json(self) -> dict[str, int]:
        """The sums as the command line's `--json` prints them."""
        return {"frames": self.frames, "samples": self.samples}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """One stream: what was sent into it, and how it ended.

    `stream_url` is redacted: it carries a token. `close_code` is None where no connection was open,
    1006 where it ended without a closing handshake (RFC 6455 section 7.1.5). `opened_at` and
    `broke_at` are seconds after the call began. `fault` says in words why it is not as it should
    be, None where it is. `received` and `recording` are the receiver's to know: whoever runs both
    ends fills them in, with `dataclasses.replace`. `format` is that of each track, so samples are
    counted in its rate. `audio`, what was sent track by track in that format from the tick
    `first_tick` of the call on, is kept only where the plan asks for it.
    `handshake_seconds` is how long it took to open, from the connection to the upgrade, and
    `closing_seconds` how long after the stop the receiver's goodbye came, None without both;
    `refused_with` is the status of an upgrade refused. `due` is how many frames the clock called
    for while it was open, `lateness` how far behind their moment those that were sent left.
    """

    stream_url: str
    track: str
    stream_id: str
    sent: Mapping[str, Sums]
    format: MediaFormat = MediaFormat()
    close_code: int | None = None
    opened_at: float | None = None
    broke_at: float | None = None
    fault: str | None = None
    received: Mapping[str, Sums] | None = None
    recording: str | None = None
    first_tick: int | None = None
    audio: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    handshake_seconds: float | None = None
    closing_seconds: float | None = None
    refused_with: int | None = None
    due: int = 0
    lateness: Lateness = field(default_factory=Lateness, repr=False)

    def to_json(self) -> dict[str, object]:
        """The stream as `--json` prints it; `received` only where it is known."""
        document: dict[str, object] = {
            "stream_url": self.stream_url,
            "track": self.track,
            "sent": _sums(self.sent),
        }
        if self.received is not None:
            document["received"] = _sums(self.received)
        return document | {"close_code": self.close_code, "recording": self.recording}


def _sums(tracks: Mapping[str, Sums]) -> dict[str, object]:
    return {track: sums.to_json() for track, sums in tracks.items()}


@dataclass(frozen=True, slots=True)
class WebhookReport:
    """One event's delivery; `status` is the last response's, None where there was none.

    `fault` says why the last attempt was in vain; None where it was not. `seconds` is how long that
    attempt took, from the connection to the end of its response. `place` is its place in the order
    in which the call's events were accepted, from 1. `duplicates` is how often it was delivered
    again after that; `duplicate_status` and `duplicate_fault` say what came of it.
    """

    event: str
    attempts: int
    status: int | None
    fault: str | None = None
    seconds: float | None = None
    place: int | None = None
    duplicates: int = 0
    duplicate_status: int | None = None
    duplicate_fault: str | None = None

    @property
    def accepted(self) -> bool:
        """Any 2xx accepts an event (MiniVoice documentation, webhooks)."""
        return self.status is not None and 200 <= self.status < 300

    def to_json(self) -> dict[str, object]:
        """The delivery as `--json` prints it; `duplicate_status` only where there was one."""
        document = {"event": self.event, "attempts": self.attempts, "status": self.status}
        return document | ({"duplicate_status": self.duplicate_status} if self.duplicates else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """What came of one call. `answer_seconds` is how long the answer_url took; None: no answer.

    `findings` are what the plan's faults have brought to light.
    """

    call_id: str
    steps: Sequence[Step]
    streams: Sequence[StreamReport] = ()
    webhooks: Sequence[WebhookReport] = ()
    actions: Sequence[ActionResult] = ()
    moments: Sequence[Moment] = field(default=(), repr=False)
    answer_seconds: float | None = None
    findings: Sequence[Finding] = ()

    @property
    def failures(self) -> list[Step]:
        """The steps that are not as they should be, in the debug order."""
        return [step for step in self.steps if step.ok is False]

    @property
    def passed(self) -> bool:
        """Whether every step that applies is as it should be."""
        return not self.failures

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """The verdict in one word."""
        return "pass" if self.passed else "fail"

    def to_json(self) -> dict[str, object]:
        """The report as `demo --json` and `call --json` print it; `findings` if there are any."""
        document: dict[str, object] = {
            "verdict": self.verdict,
            "call_id": self.call_id,
            "steps": [step.to_json() for step in self.steps],
            "streams": [stream.to_json() for stream in self.streams],
            "webhooks": [webhook.to_json() for webhook in self.webhooks],
        }
        if self.findings:
            document["findings"] = [finding.to_json() for finding in self.findings]
        return document

    def __str__(self) -> str:
        """The verdict and its steps for people; the moments were for while the call went on."""
        lines = [f"call {self.call_id}: {self.verdict.upper()}"]
        width = max(len(step.name) for step in self.steps) if self.steps else 0
        for step in self.steps:
            lines.append(f"  {_SIGNS[step.ok]:<4}  {step.name:<{width}}  {step.detail}")
        return "\n".join(lines)
