"""Fuzzes the reading of captures. Input: the lines of a capture."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_documents import check_capture


def check(data: bytes) -> None:
    check_capture(data.splitlines(keepends=True))


if __name__ == "__main__":
    run(check)
