"""Fuzzes the reading of answers. Input: a body."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_documents import check_answer


def check(data: bytes) -> None:
    check_answer(data)


if __name__ == "__main__":
    run(check)
