"""What a test call is to be: whom to ask, whom to tell, who speaks and for how long.

Much of what MiniVoice does is not documented. Each guess of ours stands here as a setting, so that
it can be changed where it turns out to be wrong; none of them is a fact about MiniVoice:

* `answer_method`: the method with which the answer_url is asked.
* `answered_first`: whether `call.answered` is sent before the answer_url is asked, or, as we
  assume, once its answer is known to be good.
* `assumptions`: everything about the actions that is not documented; see `assumptions.py`.
* `default_track`: the track of a `start_stream` that names none.
* `dialect`: the wire format of the streams; `media_format` that of their audio, one of those that
  its platform is known to send (None: the usual one).
* `retries`: when and how often a webhook is tried again.
* `timeouts.response`: how long an answer or the acceptance of a webhook may take.

It must not know how any of it is done. Read next: `call.py`, which does it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from minivoice_ref.config import ConfigError, Limits, Timeouts
from minivoice_ref.protocol.dialects.detect import encoders
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.protocol.redaction import redact_url
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.speech import SPEECH_PROGRAMS, Voice

if TYPE_CHECKING:
    from minivoice_ref.simulator.faults import Fault

__all__ = ["CallPlan", "RetrySchedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """When a webhook is tried again: `attempts` in all; after the first failure it waits `first`
    seconds, then each time `factor` times longer, but never longer than `longest`. Each pause is
    longer or shorter by chance, by at most the part `jitter` of it: 0.1 is 10 %.
    """

    attempts: int = 6
    first: float = 0.5
    factor: float = 2.0
    longest: float = 8.0
    jitter: float = 0.1

    def delay(self, failures: int, chance: float = 0.5) -> float:
        """Seconds to wait after the *failures*-th failure, counted from 1.

        *chance*, from 0 to 1, is where in the range of the jitter it is: 0.5 is in the middle.
        """
        try:
            pause = min(self.longest, self.first * self.factor ** (failures - 1))
        except OverflowError:
            pause = self.longest
        return pause * (1 + self.jitter * (2 * chance - 1))

    def problems(self) -> Iterator[Problem]:
        """Everything about it that cannot work."""
        if self.attempts < 1:
            yield Problem("retries.attempts", "is below 1", "a webhook is tried at least once")
        for name in ("first", "factor", "longest"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                yield Problem(f"retries.{name}", f"{value!r} is not 0 or more", "it is a number")
        if not 0 <= self.jitter <= 1:
            yield Problem("retries.jitter", f"{self.jitter!r} is no part", "choose from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """One test call. Times are in seconds; a voice left out is that of the packaged conversation.

    The parties speak for `speak` before each `stop_stream` and at the end, for `talk` (None: as
    long) where the call was transferred, bridged or put into a conference; `hang_up_after` is when
    the caller hangs up at the latest, counted from the answer (None: `timeouts.longest_stream`).
    `say_fails` has the playback of every `say` fail. `digits` are the keys that the
    caller presses when asked to, one each `key_every`, with the pauses `w W ,`. `speech_programs`
    are tried for the words of a `say`, in this order; none: the packaged voice speaks.
    `recording_fails` has recordings end with `recording.failed`. `duplicate_webhooks` delivers each
    event once more, `reorder_webhooks` holds some back until the next one has been delivered.

    `expect_stream` has the verdict fail a call without a stream, which otherwise leaves a dash at
    the questions about streams, unless its answer has a `start_stream`. `expect_break` says that
    somebody means to break a stream, so that the verdict asks for a broken stream and a call that
    went on. `keep_audio` keeps what was sent, 8 kB a second and track.
    `call_id` and `seed` make two calls the same to the byte; unset they are new each time.
    Raises ConfigError with everything about it that cannot work.
    """

    answer_url: str
    answer_method: Literal["POST", "GET"] = "POST"
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    speak: float = 5.0
    talk: float | None = None
    hang_up_after: float | None = None
    digits: str = ""
    key_every: float = 0.5
    say_fails: bool = False
    recording_fails: bool = False
    speech_programs: tuple[str, ...] = ("flite", "espeak-ng")
    caller: Voice | None = field(default=None, repr=False)
    agent: Voice | None = field(default=None, repr=False)
    from_number: str = "+15551230001"
    to_number: str = "+15551230002"
    direction: Literal["inbound", "outbound"] = "inbound"
    customer_id: str = "cust_test"
    application_id: str = "app_test"
    variables: Mapping[str, str] = field(default_factory=dict)
    dialect: str = "twilio"
    media_format: MediaFormat | None = None
    default_track: Literal["inbound", "outbound", "both"] = "both"
    answered_first: bool = False
    expect_stream: bool = False
    expect_break: bool = False
    keep_audio: bool = False
    retries: RetrySchedule = RetrySchedule()
    duplicate_webhooks: bool = False
    reorder_webhooks: bool = False
    assumptions: Assumptions = Assumptions()
    call_id: str | None = None
    seed: int | None = None
    faults: tuple[Fault, ...] = ()
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigError(problems)


def _problems(plan: CallPlan) -> Iterator[Problem]:
    """Everything about *plan* that cannot work."""
    for name in ("answer_url", "webhook_url"):
        url = getattr(plan, name)
        if url is not None and not _is_web_url(url):
            yield Problem(
                name,
                f"{redact_url(url)!r} is not an https URL",
                "write for example https://host/path",
            )
    for name in ("speak", "talk", "hang_up_after", "key_every"):
        seconds = getattr(plan, name)
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            yield Problem(name, f"{seconds!r} is not a positive number", "it counts seconds")
    yield from _wire_problems(plan)
    yield from _flow_problems(plan)
    yield from plan.retries.problems()
    yield from plan.assumptions.problems()
    for fault in plan.faults:
        if fault.needs_secret and plan.webhook_secret is None:
            yield Problem("faults", f"{fault} needs a webhook_secret", "there is nothing to forge")
        if fault.needs_secret and plan.retries.attempts < 2:
            why = "the first attempt is forged: allow retries.attempts=2 or more"
            yield Problem("faults", f"{fault} needs a second attempt", why)
    if plan.webhook_secret == "":
        yield Problem("webhook_secret", "is empty", "give the secret or leave it unset")


def _wire_problems(plan: CallPlan) -> Iterator[Problem]:
    """What is wrong with how the streams are to be spoken."""
    known = encoders()
    if plan.dialect not in known:
        listed = ", ".join(known)
        yield Problem("dialect", f"{plan.dialect!r} is not a dialect", f"choose one of: {listed}")
        return
    formats = known[plan.dialect].formats
    if plan.media_format is not None and plan.media_format not in formats:
        yield Problem(
            "media_format",
            f"{plan.dialect} does not carry {plan.media_format}",
            f"choose one of: {', '.join(map(str, formats))}",
        )


def _flow_problems(plan: CallPlan) -> Iterator[Problem]:
    """What is wrong with what the caller is to do."""
    strange = "".join(sorted(set(plan.digits) - set("0123456789*#ABCDwW,")))
    if strange:
        yield Problem("digits", f"{strange!r} is on no telephone", "use 0-9 * # A-D and w W ,")
    for name in plan.speech_programs:
        if name not in SPEECH_PROGRAMS:
            known = ", ".join(SPEECH_PROGRAMS)
            yield Problem("speech_programs", f"{name!r} is unknown", f"choose of: {known}")


def _is_web_url(url: str) -> bool:
    """Whether *url* can be asked at all; plain http is for a laboratory, and is remarked on."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
