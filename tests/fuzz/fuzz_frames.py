"""Fuzzes a WebSocket's frames. Input: a byte that cuts, then what a client sends."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import cuts_of
    from fuzzed_frames import TRANSPORTS, check_frames


def check(data: bytes) -> None:
    for transport in TRANSPORTS:
        check_frames(data[1:], cuts_of(data), transport)


if __name__ == "__main__":
    run(check)
