"""Fuzzes a timeline. Input: a byte for the jump, then four bytes for each piece."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import pieces_of_audio
    from fuzzed_stream import check_timeline

JUMPS = (0.0, 0.01, 1.0, 60.0, 3600.0)


def check(data: bytes) -> None:
    check_timeline(8000, JUMPS[(data or b"\0")[0] % len(JUMPS)], pieces_of_audio(data[1:]))


if __name__ == "__main__":
    run(check)
