"""Fuzzes the fast reading of frames against wsproto. Input: a byte that cuts, then frames."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import cuts_of
    from fuzzed_reader import check_reader


def check(data: bytes) -> None:
    check_reader(data[1:], cuts_of(data))


if __name__ == "__main__":
    run(check)
