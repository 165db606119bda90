"""Keeps of what a fuzzer has learned the fewest bytes that reach the same lines of our code.

    python tests/fuzz/fuzz_shrink.py TARGET FOLDER [FOLDER…]

writes them into `corpus/TARGET`, beside what is there. Needs no fuzzer: it counts the steps from
line to line, input by input, and takes those that reach something new, the smallest first.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import types
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGE = str(HERE.parent.parent / "minivoice_ref")
_LARGEST = 2048  # bytes of an input that is worth keeping

Arc = tuple[str, int, int]


def arcs_of(check: Callable[[bytes], None], data: bytes) -> set[Arc]:
    """The steps from line to line in our package while *check* looks at *data*."""
    arcs: set[Arc] = set()
    last: dict[int, int] = {}

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE):
            return None
        if event == "line":
            arcs.add((path, last.get(id(frame), 0), frame.f_lineno))
            last[id(frame)] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        check(data)
    finally:
        sys.settrace(None)
    return arcs


def target(name: str) -> Callable[[bytes], None]:
    """The check of a target, imported without a fuzzer."""
    stand_in = types.ModuleType("fuzz_main")
    stand_in.instrumented = nullcontext  # type: ignore[attr-defined]
    stand_in.run = None  # type: ignore[attr-defined]
    sys.modules["fuzz_main"] = stand_in
    check: Callable[[bytes], None] = importlib.import_module(f"fuzz_{name}").check
    return check


def main(name: str, *folders: str) -> None:
    """Shrink the corpus of one target."""
    check, kept = target(name), HERE / "corpus" / name
    kept.mkdir(parents=True, exist_ok=True)
    reached: set[Arc] = set()
    for path in kept.iterdir():
        reached |= arcs_of(check, path.read_bytes())
    found = {path.read_bytes() for folder in folders for path in Path(folder).iterdir()}
    for data in sorted(found, key=lambda data: (len(data), data)):
        arcs = arcs_of(check, data) if len(data) <= _LARGEST else set()
        if not arcs <= reached:
            reached |= arcs
            (kept / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    size = sum(path.stat().st_size for path in kept.iterdir())
    print(f"{name}: {len(list(kept.iterdir()))} inputs, {size} bytes, {len(reached)} steps")


if __name__ == "__main__":
    main(*sys.argv[1:])
