"""The fifteen actions: one table of what MiniVoice documents of them, and a function to write each.

The table drives everything: the check of an answer before it leaves, the check of somebody
else's answer, and the order in which the simulator runs it. To change what is known of an action,
change its row. This module knows one action at a time, and nothing of lists of them.

Facts: MiniVoice documentation, actions. It contradicts itself on `transfer` and `bridge`: tabled
with `destination`, shown in examples with `to` and `from` (`bridge` also with `timeout_seconds`).

Read next: `actions.py`, which reads and checks whole answers; `parameters.py` for the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from minivoice_ref.protocol import parameters as kinds
from minivoice_ref.protocol.documents import shown
from minivoice_ref.protocol.redaction import redact_url

__all__ = ["ACTIONS", "Action", "ActionRule", "Effect", "Form", "Parameter"]
__all__ += ["bridge", "conference", "gather", "hold", "mute", "redirect", "resume", "say"]
__all__ += ["send_digits", "start_recording", "start_stream", "stop_recording", "stop_stream"]
__all__ += ["transfer", "unmute"]

Effect: TypeAlias = Literal["next", "waits", "replaces", "ends"]
"""What an action does to its list: `next` goes on at once, `waits` goes on when it is over,
`replaces` goes on with another list, `ends` runs nothing after it."""

Form: TypeAlias = Literal["typed", "keyed"]
"""How an action is written: `{"type": NAME, ...parameters}`, or `{NAME: {...parameters}}`."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action of an answer: its type and its parameters, unchecked until the answer is.

    `form` is the one of the two documented forms in which it is written, `typed` or `keyed`. Two
    are equal when they mean the same, in whichever form they are. The representation leaves out
    what could be a secret of a URL.
    """

    type: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    form: Form = field(default="typed", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={_quoted(value)}" for name, value in self.parameters.items())
        return f"{self.type}({given})"

    def get(self, name: str) -> object:
        """The value of a parameter, its documented default where it was left out, else None."""
        rule = ACTIONS.get(self.type)
        known = rule.parameters.get(name) if rule else None
        return self.parameters.get(name, known.default if known else None)

    def keyed(self) -> Action:
        """The same action in its keyed form: `{"hold": {}}` in the place of `{"type": "hold"}`."""
        return replace(self, form="keyed")

    def to_json(self) -> dict[str, object]:
        """The action in its form, as an answer has it."""
        if self.form == "keyed":
            return {self.type: dict(self.parameters)}
        return {"type": self.type} | dict(self.parameters) | {"type": self.type}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one action.

    `default` is the documented one; None where none is documented. `tabled` is false for what only
    an example of the documentation shows; `spells` names the tabled parameter that it stands for.
    """

    kind: kinds.Kind
    required: bool = False
    default: object = None
    tabled: bool = True
    spells: str | None = None


Conflict: TypeAlias = tuple[str, str, str]
"""Two parameters that contradict each other: the name of one, what is wrong, how to mend it."""


def _no_conflicts(_: Mapping[str, object]) -> Iterator[Conflict]:
    return iter(())


@dataclass(frozen=True, slots=True)
class ActionRule:
    """What is documented of one action: its row of the table.

    `conflicts` looks at parameters that are good by themselves and yields those that contradict
    each other.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    effect: Effect = "next"
    conflicts: Callable[[Mapping[str, object]], Iterator[Conflict]] = _no_conflicts

    @property
    def ends_list(self) -> bool:
        """True where the actions after it are not run."""
        return self.effect == "ends"


def _gather_conflicts(given: Mapping[str, object]) -> Iterator[Conflict]:
    """The counts of `gather` that no caller could satisfy."""
    least, most, count = (given.get(name) for name in ("min_digits", "max_digits", "num_digits"))
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield "min_digits", f"{least} is more than max_digits, {most}", "swap them or drop one"
    if isinstance(count, int) and isinstance(most, int) and count > most:
        yield "num_digits", f"{count} is more than max_digits, {most}", "drop one of the two"
    if isinstance(count, int) and isinstance(least, int) and count < least:
        yield "num_digits", f"{count} is less than min_digits, {least}", "drop one of the two"


_TRACK = Parameter(kinds.one_of("inbound", "outbound", "both"))
_DIRECTION = {"direction": Parameter(kinds.one_of("read", "write", "both"), required=True)}
_DESTINATION = {
    "destination": Parameter(kinds.DESTINATION, required=True),
    "to": Parameter(kinds.DESTINATION, tabled=False, spells="destination"),
    "from": Parameter(kinds.DESTINATION, tabled=False),
}
_STREAM_URL = kinds.url("wss")

ACTIONS: Mapping[str, ActionRule] = MappingProxyType(
    {
        "say": ActionRule({"text": Parameter(kinds.TEXT, required=True)}, "waits"),
        "gather": ActionRule(
            {
                "prompt": Parameter(kinds.PROMPT),
                "num_digits": Parameter(kinds.whole_number(1), default=1),
                "min_digits": Parameter(kinds.whole_number(0)),
                "max_digits": Parameter(kinds.whole_number(1)),
                "timeout_seconds": Parameter(kinds.whole_number(1, 30)),
                "finish_on_key": Parameter(kinds.DTMF_KEY),
            },
            "waits",
            _gather_conflicts,
        ),
        "send_digits": ActionRule(
            {
                "digits": Parameter(kinds.DIGITS, required=True),
                "pause_before_ms": Parameter(kinds.whole_number(0, 60000)),
            }
        ),
        "redirect": ActionRule(
            {
                "url": Parameter(kinds.url("http", "https"), required=True),
                "method": Parameter(kinds.one_of("GET", "POST"), default="GET"),
                "max_redirects": Parameter(kinds.whole_number(0, 20)),
            },
            "replaces",
        ),
        "transfer": ActionRule(_DESTINATION, "ends"),
        "bridge": ActionRule(
            {**_DESTINATION, "timeout_seconds": Parameter(kinds.whole_number(1), tabled=False)},
            "ends",
        ),
        "conference": ActionRule(
            {
                "room": Parameter(kinds.ROOM, required=True),
                "mute": Parameter(kinds.FLAG),
                "end_on_exit": Parameter(kinds.FLAG),
            },
            "ends",
        ),
        "hold": ActionRule(),
        "resume": ActionRule(),
        "mute": ActionRule(_DIRECTION),
        "unmute": ActionRule(_DIRECTION),
        "start_recording": ActionRule(),
        "stop_recording": ActionRule(),
        "start_stream": ActionRule(
            {"stream_url": Parameter(_STREAM_URL, required=True), "track": _TRACK}
        ),
        "stop_stream": ActionRule({"stream_url": Parameter(_STREAM_URL), "track": _TRACK}),
    }
)
"""What MiniVoice documents of each action, by the action's name."""


def say(text: str) -> Action:
    """Speak *text* to the caller; the next action runs when playback ends."""
    return _action("say", text=text)


def gather(
    prompt: str | None = None,
    *,
    num_digits: int | None = None,
    min_digits: int | None = None,
    max_digits: int | None = None,
    timeout_seconds: int | None = None,
    finish_on_key: str | None = None,
) -> Action:
    """Collect keys from the caller; causes the webhook `call.gathered`.

    Ends with enough digits (one where no count is given), with the finish key, when the caller
    hangs up, or after *timeout_seconds* (1 to 30).
    """
    return _action(
        "gather",
        prompt=prompt,
        num_digits=num_digits,
        min_digits=min_digits,
        max_digits=max_digits,
        timeout_seconds=timeout_seconds,
        finish_on_key=finish_on_key,
    )


def send_digits(digits: str, *, pause_before_ms: int | None = None) -> Action:
    """Send DTMF keys (`0-9 * # A-D`) and pauses (`w W ,`), up to 60000 ms from now."""
    return _action("send_digits", digits=digits, pause_before_ms=pause_before_ms)


def redirect(url: str, *, method: str | None = None, max_redirects: int | None = None) -> Action:
    """Go on with the action list that *url* (http or https) returns; by GET where not said."""
    return _action("redirect", url=url, method=method, max_redirects=max_redirects)


def transfer(destination: str) -> Action:
    """Hand the call to an E.164 number or a SIP URI; later actions are not run."""
    return _action("transfer", destination=destination)


def bridge(destination: str) -> Action:
    """Connect the call with an E.164 number or a SIP URI; later actions are not run."""
    return _action("bridge", destination=destination)


def conference(room: str, *, mute: bool | None = None, end_on_exit: bool | None = None) -> Action:
    """Put the caller into a room (letters, digits, `.`, `-`, `_`); nothing else runs meanwhile."""
    return _action("conference", room=room, mute=mute, end_on_exit=end_on_exit)


def hold() -> Action:
    """Put the caller on hold."""
    return _action("hold")


def resume() -> Action:
    """Take the caller off hold; fails when the call is not held."""
    return _action("resume")


def mute(direction: str) -> Action:
    """Mute `read`, `write` or `both` directions of the call."""
    return _action("mute", direction=direction)


def unmute(direction: str) -> Action:
    """Undo `mute` for `read`, `write` or `both` directions."""
    return _action("unmute", direction=direction)


def start_recording() -> Action:
    """Have the platform record; causes `recording.started` and a webhook about its end."""
    return _action("start_recording")


def stop_recording() -> Action:
    """End the platform's recording."""
    return _action("stop_recording")


def start_stream(stream_url: str, track: str | None = "both") -> Action:
    """Have the platform connect to *stream_url* (wss) and send `inbound`, `outbound` or `both`.

    Choose the narrowest track that solves the problem. None leaves the choice to the platform,
    which does not document what it then takes.
    """
    return _action("start_stream", stream_url=stream_url, track=track)


def stop_stream(stream_url: str | None = None, track: str | None = None) -> Action:
    """End the streams that match in URL and track, each only where given; no match does nothing."""
    return _action("stop_stream", stream_url=stream_url, track=track)


def _action(type: str, **parameters: object) -> Action:
    """An action without the parameters that were not given."""
    return Action(type, {name: value for name, value in parameters.items() if value is not None})


def _quoted(value: object) -> str:
    return shown(redact_url(value) if isinstance(value, str) else value)
