"""How many files, and so connections, the process may have open at once.

A process that has none left cannot take a connection, open a recording or write a log, and who is
in already suffers with who is not. So no more connections are let in than there are descriptors
for, with some kept back for what is ours and for those who are told that they are too many.

Read next: `server.py`.
"""

from __future__ import annotations

import dataclasses
import resource

from minivoice_ref.config import Config
from minivoice_ref.net.crowd import most_turned_away

__all__ = ["allow_open_files", "fit_to_open_files"]

_KEPT_BACK = 40  # for the doors, the inbox, the logs, and what the interpreter has open


def allow_open_files() -> None:
    """Raise the soft limit on open files to the hard one: for a process that is nothing else."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def fit_to_open_files(config: Config) -> tuple[Config, str | None]:
    """*config* with as many connections as there are descriptors for, and what was changed, if any.

    A stream that is recorded or captured has a file of its own for each.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits, files = config.limits, config.record + config.capture
    needed = limits.connections + most_turned_away(limits.connections)
    needed += files * min(limits.streams, limits.connections)
    if soft == resource.RLIM_INFINITY or needed + _KEPT_BACK <= soft:
        return config, None
    left = soft - _KEPT_BACK
    room = max(1, (left - most_turned_away(left)) // (1 + files))
    limits = dataclasses.replace(limits, connections=room)
    why = f"the process may open {soft} files, so {room} connections are let in at once"
    return dataclasses.replace(config, limits=limits), why
