"""Which code of the error catalogue belongs to what: refusals, broken connections, bad answers.

Where a line of the log has one cause, its code stands where it is noted; what has many causes is
told apart here. A test keeps these codes and the catalogue in step. Read next: `endings.py`, which
has those of the streams' ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minivoice_ref.protocol.errors import Problem, RemoteProtocolError
from minivoice_ref.protocol.signing import BadSignature, BadToken, SignatureFault, TokenFault
from minivoice_ref.receiver.calls import Subject
from minivoice_ref.receiver.journal import Log

__all__ = ["code_of_answer", "code_of_connection", "code_of_refusal", "subject_of"]

_TOKENS: Mapping[TokenFault, str] = {
    "malformed": "MV-202",
    "forged": "MV-203",
    "expired": "MV-204",
}
_SIGNATURES: Mapping[SignatureFault, str] = {
    "missing": "MV-601",
    "malformed": "MV-602",
    "stale": "MV-603",
    "wrong": "MV-604",
}
_CONNECTIONS = {
    "tls_failed": "MV-301",
    "silent": "MV-302",
    "lost": "MV-308",
    "failed": "MV-701",
}
_REQUESTS = {408: "MV-304", 413: "MV-305", 431: "MV-305"}
_UPGRADES = {426: "MV-306", 503: "MV-307"}
_REFUSALS: Mapping[Log, Mapping[int, str]] = {
    "answers": {401: "MV-313", 403: "MV-313", 405: "MV-106"},
    "streams": {401: "MV-313", 403: "MV-313", 404: "MV-205", 405: "MV-310", 426: "MV-309"},
    "webhooks": {400: "MV-605", 403: "MV-313"},
}
_OTHER_REFUSALS: Mapping[Log, str] = {
    "answers": "MV-105",
    "streams": "MV-303",
    "webhooks": "MV-606",
}


def code_of_answer(problems: Sequence[Problem]) -> str:
    """The code of an answer with faults: that of its URL where there is no other fault."""
    in_url = all(problem.path.endswith("stream_url") for problem in problems)
    return "MV-201" if in_url else "MV-103"


def code_of_refusal(log: Log, refusal: RemoteProtocolError) -> str:
    """The code of a request that was understood, and refused."""
    if isinstance(refusal, BadToken):
        return _TOKENS[refusal.why]
    if isinstance(refusal, BadSignature):
        return _SIGNATURES[refusal.why]
    return _REFUSALS[log].get(refusal.status, _OTHER_REFUSALS[log])


def code_of_connection(kind: str, status: int | None) -> str:
    """The code of trouble with a connection, of the kinds that `front_door.Site.note` lists."""
    if kind == "upgrade_refused":
        return _UPGRADES.get(status or 0, "MV-306")
    return _CONNECTIONS.get(kind) or _REQUESTS.get(status or 0, "MV-303")


def subject_of(refusal: RemoteProtocolError) -> Subject:
    """Whose stream was refused, where that is known for certain."""
    text = refusal.subject if isinstance(refusal, BadToken) else None
    return Subject() if text is None else Subject.from_token(text)
