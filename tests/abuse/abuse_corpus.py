"""The corpus of abuse: what hostile peers send, and what must happen. Data, in `corpus/*.toml`.

One file a subject, one `[[case]]` for each thing that a stranger can do. A case is played by
`abuse_player.py` against a whole receiver, over memory streams and over real TLS. Its fields:

    name      a sentence: what is done
    opening   what is done properly first: nothing, `stream` (the WebSocket is open), `started` (the
              stream has started as well)
    send      the parts that are sent, in order: see `abuse_parts.py`
    then      what the peer does after the last of them: `listen` until it is closed, `leave` when
              it has heard all that must come, `vanish` or `reset` at once
    reads     false for a peer that reads nothing before it has sent everything
    pongs     false for a peer that does not answer pings
    door      `any`: the plain door in memory, the TLS door over sockets; `plain` and `tls`: always
              that one; `beneath tls`: the TLS door, but the bytes are sent as they are
    client    how the peer speaks TLS: `certificate`, `alpn`, `version`, `name`

and what must happen:

    statuses  the statuses of all HTTP responses, in order; a 101 is not counted
    close     the code of the Close that the peer hears; 0 if a stream ends without one
    within    the names of the `Timeouts` that may pass between the last part and the end of all
              that the connection held here; none means at once
    codes     the codes of the error catalogue in the logs, and no others; MV-402, no audio at all,
              goes without saying
    has       texts in what the peer hears (headers, bodies, reasons), `lacks` those that are not
    feed      whether the WebSocket is the console's, which speaks and has no account
    cpu       how many seconds of the processor's time it may take, the peer's own part included
    hidden    texts that no log and no capture may have
    account   what the streams' log must say of the track `inbound`, or of the stream
    memory    how much may be held meanwhile, in KiB, the peer's own part included
    sockets   false for what is a matter of numbers at a moment, which only virtual time has

Read next: `abuse_parts.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "corpus"
OPENINGS = ("", "stream", "started")
THEN = ("listen", "leave", "vanish", "reset")
DOORS = ("any", "plain", "tls", "beneath tls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that a stranger does, and what must happen."""

    subject: str
    name: str
    send: tuple[Any, ...]
    opening: str = ""
    then: str = "listen"
    reads: bool = True
    pongs: bool = True
    door: str = "any"
    client: Mapping[str, Any] = field(default_factory=dict)
    statuses: tuple[int, ...] = ()
    close: int | None = None
    within: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    account: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 1024
    cpu: float = 5.0
    feed: bool = False
    sockets: bool = True

    def __post_init__(self) -> None:
        assert self.opening in OPENINGS, self
        assert self.then in THEN, self
        assert self.door in DOORS, self
        assert (self.close is not None) >= bool(self.opening), f"{self.name}: how does it close?"

    @property
    def is_stream(self) -> bool:
        """Whether a WebSocket comes about."""
        return self.close is not None


_KNOWN = {one.name for one in fields(Case)} - {"subject"}


def _read(path: Path) -> list[Case]:
    cases = []
    for entry in tomllib.loads(path.read_text("utf-8"))["case"]:
        assert set(entry) <= _KNOWN, f"{path.name}: {entry['name']}: {set(entry) - _KNOWN}"
        lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
        cases.append(Case(subject=path.stem, **{**entry, **lists}))
    return cases


def read_corpus() -> list[Case]:
    """All cases, by subject."""
    return [case for path in sorted(FOLDER.glob("*.toml")) for case in _read(path)]
