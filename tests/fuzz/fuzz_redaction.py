"""Fuzzes what keeps secrets out of logs. Input: a text; the byte 1 stands for a token."""

from __future__ import annotations

from fuzz_main import instrumented, run

with instrumented():
    from fuzzed_documents import KEY, NOW, check_redaction
    from minivoice_ref.protocol.signing import mint_token

TOKEN = mint_token(KEY, "call:call_1", NOW)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("\x01", TOKEN)
    check_redaction(text, TOKEN)
    check_redaction(text.encode(), TOKEN)


if __name__ == "__main__":
    run(check)
