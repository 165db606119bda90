"""Runs one check under atheris, a coverage-guided fuzzer, for as long as one likes.

    pip install -e '.[fuzz]'
    python tests/fuzz/fuzz_dialects.py -runs=1000000
    python tests/fuzz/fuzz_dialects.py -max_total_time=600 FOLDER      # FOLDER keeps what it learns
    python tests/fuzz/fuzz_dialects.py crash-1234…                     # once, what was found

The options are those of libFuzzer. It begins with the inputs in `corpus/TARGET` and with the words
of `words.dict`. What it finds belongs into `test_fuzz_findings.py`, as a case; what it has learned,
shrunk by `fuzz_shrink.py`, into `corpus`. pytest collects none of this: see `test_fuzz_*.py` for
what every run does with the same checks.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

HERE = Path(__file__).parent
_OPTIONS = {"-max_len": "4096", "-timeout": "20", "-rss_limit_mb": "2048"}


def instrumented() -> AbstractContextManager[None]:
    """`with instrumented():` around the imports of what is fuzzed."""
    context: AbstractContextManager[None] = atheris.instrument_imports(include=["minivoice_ref"])
    return context


def run(check: Callable[[bytes], None]) -> None:
    """Call *check* with ever new bytes, as the command line says. Does not return."""
    name = Path(sys.argv[0]).stem.removeprefix("fuzz_")
    given = sys.argv[1:]
    options = [one for one in given if one.startswith("-")]
    folders = [one for one in given if not one.startswith("-")]
    if not any(Path(one).is_file() for one in folders):
        # New inputs go into the first folder; the one in the repository is only read.
        folders = [
            *(folders or [tempfile.mkdtemp(prefix=f"fuzz-{name}-")]),
            str(HERE / "corpus" / name),
        ]
    known = {one.partition("=")[0] for one in options}
    options += [f"{key}={value}" for key, value in _OPTIONS.items() if key not in known]
    if "-dict" not in known:
        options.append(f"-dict={HERE / 'words.dict'}")
    atheris.Setup([sys.argv[0], *options, *folders], check)
    atheris.Fuzz()
