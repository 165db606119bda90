"""Fuzzes the reading of webhooks. Input: a body."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_documents import check_event


def check(data: bytes) -> None:
    check_event(data)


if __name__ == "__main__":
    run(check)
