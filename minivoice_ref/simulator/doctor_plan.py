"""What the doctor is to look at, and from where on it finds something wrong.

MiniVoice's documentation says of an answer that it should be fast, of certificates and clocks
nothing, and names no figure. So each threshold is a setting of ours with a name:

* `fast_answer`: seconds from the first packet to the whole answer.
* `fewest_days`: days that a certificate has left; of a certificate made for less than three times
  as long, a third of its life.
* `clock_skew`: seconds between the application's clock, as its Date header has it, and ours.
* `stale_by`: age in seconds of a timestamp that nobody should take any more.

It must not know how anything is found out. Read next: `doctor.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minivoice_ref.config import ConfigError, Limits, Timeouts
from minivoice_ref.net.connect import FetchError, Target
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.simulator.plan import CallPlan

__all__ = ["DoctorPlan"]

_THRESHOLDS = ("fast_answer", "fewest_days", "clock_skew", "stale_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorPlan:
    """Which application to examine. `ca` is a PEM file of an authority to trust in a laboratory.

    Raises ConfigError with everything about it that cannot work.
    """

    answer_url: str
    answer_method: Literal["POST", "GET"] = "POST"
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    ca: Path | None = None
    fast_answer: float = 1.0
    fewest_days: float = 7.0
    clock_skew: float = 5.0
    stale_by: float = 86400.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        problems = []
        for name in ("answer_url", "webhook_url"):
            url = getattr(self, name)
            try:
                if url is not None:
                    Target.of(url, "https", "http")
            except FetchError as exc:
                problems.append(Problem(name, exc.reason, "write for example https://host/path"))
        if self.webhook_secret == "":
            mend = "give the secret or leave it unset"
            problems.append(Problem("webhook_secret", "is empty", mend))
        for name in _THRESHOLDS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                problems.append(Problem(name, f"{value!r} is not a positive number", "give one"))
        if problems:
            raise ConfigError(problems)

    @property
    def call(self) -> CallPlan:
        """The plan of the call that is not placed: how its answer_url is asked."""
        return CallPlan(
            answer_url=self.answer_url,
            answer_method=self.answer_method,
            timeouts=self.timeouts,
            limits=self.limits,
        )
