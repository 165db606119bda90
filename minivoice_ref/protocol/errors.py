"""What can be wrong, whose fault it is, where it stands and how to mend it.

Two rules hold everywhere above this module:

* a *remote* error is the peer's fault. It ends the peer's connection and nothing else. It carries
  what the peer is told: an HTTP status before the upgrade, a WebSocket close code after it.
* a *local* error is ours, or that of the program that calls us. It is never caught to be hidden.

Read next: `media.py` for what a stream says, `actions.py` for what an answer says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "FaultyAnswer",
    "InvalidDocument",
    "LocalProtocolError",
    "MiniVoiceError",
    "Problem",
    "ProtocolError",
    "RemoteProtocolError",
]


class MiniVoiceError(Exception):
    """The base of every exception that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a document: where, what, and how to mend it.

    `path` is the place in the document in the form `actions[0].track`; the empty string is the
    document itself.
    """

    path: str
    message: str
    mend: str

    def __str__(self) -> str:
        where = self.path or "the document"
        return f"{where}: {self.message}; {self.mend}" if self.mend else f"{where}: {self.message}"


class ProtocolError(MiniVoiceError):
    """Somebody broke the rules of a protocol; the subclasses say who."""


class LocalProtocolError(ProtocolError):
    """We, or the program that embeds us, did what the protocol's state does not allow."""


class FaultyAnswer(LocalProtocolError):
    """An answer has faults, so it must not be sent: `problems` are all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("the answer is faulty: " + "; ".join(map(str, self.problems)))


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow.

    `status` is the HTTP status to answer before an upgrade, `close_code` the WebSocket close code
    (RFC 6455 section 7.4.1) after it. The message is for the log; a peer hears no more of it than
    the short reason that belongs to the status or the code.
    """

    def __init__(self, message: str, *, status: int = 400, close_code: int = 1002) -> None:
        super().__init__(message)
        self.status = status
        self.close_code = close_code


class InvalidDocument(RemoteProtocolError):
    """A JSON document from a peer (an answer, a webhook) has faults: all of them, at once."""

    def __init__(self, what: str, problems: Iterable[Problem]) -> None:
        self.what = what
        self.problems: tuple[Problem, ...] = tuple(problems)
        faults = "fault" if len(self.problems) == 1 else "faults"
        listed = "; ".join(map(str, self.problems))
        super().__init__(f"{what} has {len(self.problems)} {faults}: {listed}")
