"""How the consoles of several processes show each other's calls: the two sides, and the way.

    asking.py    while somebody looks here: what the others tell
    telling.py   while somebody looks there: what they are told

Everything goes by `Talk` (`receiver/talk.py`), so nothing is waited for and anything may get lost.
What comes is of our own kind, by a way that only our own kind can go: socket files of one user,
or the Redis that has the events as well. It is read with care all the same, since another version
of us may be among them; and it is shown as what a peer sent is, as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container

from minivoice_ref.console.asking import AUDIO, Asking
from minivoice_ref.console.memory import Memory
from minivoice_ref.console.telling import Telling
from minivoice_ref.receiver.talk import Alone, Talk

__all__ = ["Exchange"]


class Exchange:
    """See above. *others* has the names of the processes that live beside this one.

    *on_missed* hears of whom has missed how many of our messages, when it asks no more.
    """

    def __init__(
        self,
        memory: Memory,
        talk: Talk | None = None,
        others: Callable[[], Container[str]] = tuple,
        on_missed: Callable[[str, int], None] = lambda node, missed: None,
    ) -> None:
        self._talk = talk or Alone()
        self.asking = Asking(self._talk, memory)
        self.telling = Telling(self._talk, memory, others, on_missed)

    async def run(self, attend: Callable[[], None]) -> None:
        """Hear the others, for ever; *attend* is called when they want something else."""

        def hear(sender: str, message: bytes) -> None:
            try:
                if self._hear(sender, message):
                    attend()
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                pass  # of another version: there is nothing to go by

        await self._talk.run(hear)

    def _hear(self, sender: str, message: bytes) -> bool:
        """Take a message; whether it says what somebody elsewhere wants."""
        if message.startswith(AUDIO):
            self.asking.hear_audio(sender, message.removeprefix(AUDIO))
            return False
        document = json.loads(message)
        asks = document["type"] in ("ask", "stop")
        (self.telling if asks else self.asking).hear(sender, document)
        return asks
