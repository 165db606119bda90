"""Fuzzes the server's half of HTTP. Input: a byte that cuts, then what arrives."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import cuts_of
    from fuzzed_http import check_request


def check(data: bytes) -> None:
    check_request(data[1:], cuts_of(data))


if __name__ == "__main__":
    run(check)
