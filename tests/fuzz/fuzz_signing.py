"""Fuzzes tokens and signatures. Input: lines, in turn token, timestamp, signature and body."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_bytes import texts_of
    from fuzzed_documents import check_minting, check_signature, check_token


def check(data: bytes) -> None:
    token, timestamp, signature, body = texts_of(data, 4)
    check_token(token)
    check_signature(timestamp, signature, body.encode())
    check_minting(token[:200] or "x", len(data) * 7, timestamp[:3])


if __name__ == "__main__":
    run(check)
