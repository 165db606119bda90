"""How the examples are run: as their first line says, or a part of one alone."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

__all__ = ["EXAMPLES", "load", "run", "running"]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
_LONGEST = 60  # seconds


def run(name: str, *arguments: str, cwd: Path, remarks: str = "nothing") -> str:
    """Run an example to its end and return what it printed.

    Its errors must be none; *remarks* is the pattern of lines that a library writes there.
    """
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_LONGEST)
    errors = [line for line in done.stderr.splitlines() if not re.match(remarks, line)]
    assert done.returncode == 0 and not errors, done.stdout + done.stderr
    return done.stdout


def load(name: str) -> ModuleType:
    """Import an example, whose folder is no package; it may import others."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


@contextmanager
def running(program: Path, *arguments: str) -> Iterator[str]:
    """Run a program for a block; gives the first line that it prints."""
    command = [sys.executable, str(program), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()
