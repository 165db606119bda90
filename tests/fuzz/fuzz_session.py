"""Fuzzes a session. Input: a byte that names the reader, then messages."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import messages_of
    from fuzzed_stream import NAMES, check_session

READERS = ("auto", *NAMES)


def check(data: bytes) -> None:
    check_session(READERS[(data or b"\0")[0] % len(READERS)], messages_of(data[1:]))


if __name__ == "__main__":
    run(check)
