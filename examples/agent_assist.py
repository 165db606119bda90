"""python examples/agent_assist.py [SECONDS]: hints for the agent, while the caller still speaks.

Needs the extra `transcribe`, as live_transcription.py does, on which it stands: that one knows how
words are understood, this one what they mean to an agent. What matters is a table, RULES: whose
words, which words, and the hint. A rule looks at a line again whenever more of it is understood, so
a hint comes in the middle of a sentence; the rules that need the whole of it say so. Each hint is
shown once in a call.

It places a test call at itself and prints the hints between the lines of the conversation. For the
platform, put serve_until_signal in that place; who wants the hints on a page of their own has
`show_hint` send them there, by a queue, since it must not wait.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import trio
from live_transcription import LAST_WORDS, NAMES, Transcription, Words

from minivoice_ref import App, MediaStream
from minivoice_ref.rehearsal import open_rehearsal

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT = rf"(?:{'|'.join(DIGITS)}|\d+)\b"  # a recogniser writes 4 7 1 5, 4715, or the words


@dataclass(frozen=True, slots=True)
class Rule:
    """A phrase that matters: `pattern` is looked for in words without capitals and punctuation.

    `hint` may name the pattern's groups in braces; digits in them stand as figures. A rule that is
    `whole` waits until the line is complete: half a number is a wrong number.
    """

    track: str
    pattern: str
    hint: str
    whole: bool = False


RULES = (
    Rule("inbound", r"never (came|arrived)|still waiting", "Late delivery: offer a replacement."),
    Rule("inbound", r"refund|money back", "Refunds: up to 30 days, see section 4."),
    Rule(
        "inbound", r"(cancel|lawyer|complain)", "The caller says {1}: ask a supervisor to listen."
    ),
    Rule(
        "inbound",
        rf"number is (?P<order>{DIGIT}(?: {DIGIT})*)",
        "Order {order}: look it up.",
        whole=True,
    ),
    Rule("outbound", r"friday|tomorrow", "You gave a date: note it with the order."),
)


def plain(text: str) -> str:
    """Words without capitals and punctuation."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def figures(said: str) -> str:
    """`four seven one five` as 4715; other words as they are."""
    words = said.split()
    if not all(re.fullmatch(DIGIT, word) for word in words):
        return said
    return "".join(str(DIGITS.index(word)) if word in DIGITS else word for word in words)


def hints_in(words: Words) -> list[str]:
    """The hints that a line calls for."""
    text, hints = plain(words.line.text), []
    for rule in RULES:
        if rule.track != words.track or (rule.whole and not words.line.complete):
            continue
        if found := re.search(rule.pattern, text):
            groups = [figures(group or "") for group in (found[0], *found.groups())]
            named = {name: figures(group or "") for name, group in found.groupdict().items()}
            hints.append(rule.hint.format(*groups, **named))
    return hints


class Assistant:
    """Follows the conversations, and has each hint shown once in each."""

    def __init__(self, show_hint: Callable[[str, Words], None]) -> None:
        self._show_hint = show_hint
        self._shown: dict[str, set[str]] = {}  # by stream, at most as many as there are rules each
        self.transcription = Transcription(self.on_words)

    async def on_stream(self, stream: MediaStream) -> None:
        """Transcribe a stream; what was shown is forgotten with it."""
        self._shown[stream.id] = set()
        try:
            await self.transcription.on_stream(stream)
        finally:
            del self._shown[stream.id]

    def on_words(self, words: Words) -> None:
        """Show what a line calls for, and the line when it is complete."""
        shown = self._shown[words.stream_id]
        for hint in hints_in(words):
            if hint not in shown:
                shown.add(hint)
                self._show_hint(hint, words)
        if words.line.complete:
            print(words, flush=True)


def show_hint(hint: str, words: Words) -> None:
    """Show the agent a hint."""
    print(f"  {'*' * 8}  {hint}  (heard from the {NAMES[words.track]})", flush=True)


async def main(speak: float) -> None:
    """Serve, and have one test call placed."""
    assistant = Assistant(show_hint)
    await assistant.transcription.prepare(2)
    app = App(on_stream=assistant.on_stream)
    async with open_rehearsal(app, timeouts=LAST_WORDS) as rehearsal:
        await rehearsal.call(speak=speak)


if __name__ == "__main__":
    trio.run(main, float((sys.argv[1:] or ["21"])[0]))  # the packaged conversation lasts 21 s
