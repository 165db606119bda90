"""The catalogue of faults: found by name, read from text, listed.

    cut=2.5      a fault with a value
    lose         the same with its default

Adding a fault means adding one class to one of the `fault_*` files. Read next: `fault.py`.
"""

from __future__ import annotations

import difflib

from minivoice_ref.simulator import (
    fault_ends,
    fault_timing,
    fault_messages,
    fault_connection,
    fault_webhooks,
)
from minivoice_ref.simulator.fault import FAULTS, Fault, FaultError, Finding, Outlook, worst_outlook

__all__ = [
    "FAULTS",
    "Fault",
    "FaultError",
    "Finding",
    "Outlook",
    "catalogue",
    "parse_fault",
    "worst_outlook",
]

# They enter their faults in FAULTS when imported, which is all that they are here for.
_ = (fault_ends, fault_timing, fault_messages, fault_connection, fault_webhooks)


def parse_fault(text: str) -> Fault:
    """The fault that `NAME` or `NAME=VALUE` stands for.

    Raises FaultError, with the nearest name where there is none such.
    """
    name, equals, value = text.strip().partition("=")
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=1, cutoff=0.0)
        raise FaultError(f"{name!r} is not a fault; did you mean {near[0]}?")
    return FAULTS[name].parse(value if equals else None)


def catalogue() -> list[str]:
    """One line for each fault: how it is written, with its default, and what it does."""
    forms = {
        name: f"{name}={fault.unit.upper()}" if fault.unit else name
        for name, fault in FAULTS.items()
    }
    width = max(map(len, forms.values()))
    return [f"{forms[name]:<{width}}  {_line(fault)}" for name, fault in FAULTS.items()]


def _line(fault: type[Fault]) -> str:
    default = f" (default {fault.default:.10g})" if fault.unit else ""
    return f"{fault.summary}{default}"
