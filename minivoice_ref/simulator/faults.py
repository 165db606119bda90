"""The catalogue of faults: found by name, read from text, listed.

    cut=2.5      a fault with a value
    lose         the same with its default

Adding a fault means adding one class to one of the `fault_*` files. Read next: `fault.py`.
"""

from __future__ import annotations

from minivoice_ref.protocol.documents import did_you_mean
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

    Raises FaultError where there is none such, with the names that are like it.
    """
    name, equals, value = text.strip().partition("=")
    if name not in FAULTS:
        raise FaultError(f"{name!r} is not a fault{did_you_mean(name, FAULTS)}")
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
