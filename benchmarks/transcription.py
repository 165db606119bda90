"""How well and how fast examples/live_transcription.py understands the packaged conversation.

    python -m benchmarks.transcription

Places one test call of the whole conversation at the example, in real time: mu-law at 8 kHz over a
real socket, as a telephone call comes. Prints each party's word error rate against the script that
its voices were made from (voices/words.txt), the lag of the lines, and what it cost. The rate is
that of the field: substituted, left out and added words, divided by the words that were said;
capitals and punctuation do not count.
"""

from __future__ import annotations

import importlib.resources
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from benchmarks.figures import median
from benchmarks.machine import describe_machine
from minivoice_ref import App
from minivoice_ref.rehearsal import open_rehearsal

__all__ = ["errors", "said", "spoken"]

PARTIES = {"inbound": "caller", "outbound": "agent"}
LENGTH = 21.0  # seconds of the conversation


def spoken(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return re.sub(r"[^\w\s]", " ", text.lower()).split()


def said() -> dict[str, list[str]]:
    """The words of the packaged conversation, of each party."""
    words: dict[str, list[str]] = {party: [] for party in PARTIES.values()}
    script = importlib.resources.files("minivoice_ref.simulator") / "voices" / "words.txt"
    for line in script.read_text("utf-8").splitlines():
        _, _, party, text = line.split("\t")
        words[party] += spoken(text)
    return words


def errors(wanted: Sequence[str], got: Sequence[str]) -> int:
    """The fewest substitutions, omissions and additions that make *got* of *wanted*."""
    row = list(range(len(got) + 1))
    for at, word in enumerate(wanted, 1):
        above, row = row, [at]
        for to, other in enumerate(got, 1):
            row.append(min(above[to] + 1, row[to - 1] + 1, above[to - 1] + (word != other)))
    return row[-1]


async def _listen(example: Any) -> list[Any]:
    """Have the conversation transcribed; return its complete lines."""
    lines: list[Any] = []
    transcription = example.Transcription(lines.append)
    await transcription.prepare(len(PARTIES))
    began, busy = time.perf_counter(), time.process_time()
    app = App(on_stream=transcription.on_stream)
    async with open_rehearsal(app, timeouts=example.LAST_WORDS) as rehearsal:
        await rehearsal.call(speak=LENGTH)
    busy, lasted = time.process_time() - busy, time.perf_counter() - began
    print(f"processor: {busy:.1f} s for {LENGTH:.0f} s of a call, which took {lasted:.1f} s")
    return [words for words in lines if words.line.complete]


def main() -> None:
    """Measure and print."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    import live_transcription  # noqa: E402  # an example is no package

    print(json.dumps(describe_machine(["moonshine-voice"])))
    lines = trio.run(_listen, live_transcription)
    wrong = total = 0
    for track, party in PARTIES.items():
        wanted = said()[party]
        heard = sorted((w.line.begin, w.line.text) for w in lines if w.track == track)
        got = [word for _, text in heard for word in spoken(text)]
        mistakes = errors(wanted, got)
        wrong, total = wrong + mistakes, total + len(wanted)
        print(f"{party:<7} {mistakes} errors in {len(wanted)} words: {mistakes / len(wanted):.1%}")
    print(f"word error rate: {wrong / total:.1%} ({wrong} of {total})")
    lags = [words.lag for words in lines]
    print(f"lag of a complete line: median {median(lags):.1f} s, longest {max(lags):.1f} s")


if __name__ == "__main__":
    main()
