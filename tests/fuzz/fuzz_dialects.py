"""Fuzzes every dialect, and detection. Input: a byte that names the dialect, then messages."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import messages_of
    from fuzzed_stream import NAMES, check_detection, check_dialect


def check(data: bytes) -> None:
    messages = messages_of(data[1:])
    check_dialect(NAMES[(data or b"\0")[0] % len(NAMES)], messages)
    check_detection(messages)


if __name__ == "__main__":
    run(check)
