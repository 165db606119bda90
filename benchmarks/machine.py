"""What a figure was measured with, and on which cores: the machine and the versions, no paths."""

from __future__ import annotations

import os
import platform
import ssl
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_machine", "processor_seconds", "resident_kilobytes", "two_cores"]

_OURS = ("trio", "trio-websocket", "wsproto", "h11")
_SCHEDULER_CLOCK = 2  # what clock_getcpuclockid(3) puts into the id of a process's clock on Linux


def describe_machine(packages: Iterable[str] = ()) -> dict[str, object]:
    """The processor, the system, and the versions of all that takes part, *packages* included."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        **{name: _version(name) for name in (*_OURS, *packages)},
    }


def two_cores() -> tuple[int, int]:
    """A core for who is measured with, and one for who is measured: the same where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used so far: of all its threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)


def resident_kilobytes(pid: int) -> int:
    """Memory of a process that is in use."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has ended")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name as Linux gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
