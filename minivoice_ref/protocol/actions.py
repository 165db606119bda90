"""The answer to `answer_url`: a list of actions, written, read, and checked as MiniVoice checks it.

An answer is `{"actions": [...]}`, run in order. Each action stands in one of two forms, which may
be mixed: typed, `{"type": "say", "text": "Hello"}`, or keyed, `{"say": {"text": "Hello"}}`. What is
written here is typed, and keyed where `Action.keyed` says so.

Whatever a document holds, reading it never raises: it yields problems, all of them at once (up to
MAX_PROBLEMS), each with its place, what is wrong and how to mend it. What cannot work is a
*problem*; what works, though its author may have meant something else, is a *warning*. An answer of
ours is checked by the same code, as the text that would be sent. Nothing here runs an action or
knows who asked.

Facts: MiniVoice documentation, actions and call flows. Assumption: fields that it does not name are
ignored by the platform, so they are warned of and left out.

Read next: `action_table.py`, the fifteen rows behind this; `webhooks.py` for what comes back.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import islice

from minivoice_ref.protocol.action_table import (
    ACTIONS,
    Action,
    ActionRule,
    Parameter,
    bridge,
    conference,
    gather,
    hold,
    mute,
    redirect,
    resume,
    say,
    send_digits,
    start_recording,
    start_stream,
    stop_recording,
    stop_stream,
    transfer,
    unmute,
)
from minivoice_ref.protocol.documents import (
    MAX_PROBLEMS,
    at,
    faults,
    kind,
    nearest,
    read_json,
    shown,
)
from minivoice_ref.protocol.errors import FaultyAnswer, Problem

__all__ = ["ACTIONS", "Action", "ActionRule", "Answer", "CheckedAnswer"]
__all__ += ["STREAM_ACTION_ACCEPTED", "bridge", "check_answer", "conference", "gather", "hold"]
__all__ += ["mute", "read_answer", "redirect", "resume", "say", "send_digits", "start_recording"]
__all__ += ["start_stream", "stop_recording", "stop_stream", "transfer", "unmute"]

STREAM_ACTION_ACCEPTED = "stream action accepted by the call flow"
"""The documented result of a good `start_stream` or `stop_stream`."""

_EXAMPLE = 'write {"type": "hold"} or {"hold": {}}, for example'
_LIST_EXAMPLE = 'write {"actions": [...]}'
_ENTRY = re.compile(r"actions\[([0-9]+)\]")
_IGNORED = "drop it: MiniVoice documents no such field"
_NOT_RUN = {
    "replaces": "is not run once {type} at actions[{index}] goes on with another list",
    "ends": "is not run: {type} at actions[{index}] ends the list",
}


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """What an answer held: its actions in order, and everything that is wrong with it.

    An entry of `actions` is None where the document's entry is not usable. Values are as the
    document had them, `to` of `transfer` and `bridge` excepted, which stands as `destination`.
    `types` has what each entry is by its name, usable or not; None where not even that was read.
    """

    actions: tuple[Action | None, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    types: tuple[str | None, ...] = ()

    @property
    def valid(self) -> bool:
        """True where MiniVoice would run the whole list."""
        return not self.problems

    def problems_of(self, index: int) -> tuple[Problem, ...]:
        """The problems of one entry of the list."""
        entry = f"actions[{index}]"
        return tuple(problem for problem in self.problems if problem.path.startswith(entry))


@dataclass(frozen=True, slots=True, init=False)
class Answer:
    """What an application tells MiniVoice to do: actions, in order."""

    actions: tuple[Action, ...]

    def __init__(self, *actions: Action) -> None:
        for action in actions:
            if not isinstance(action, Action):
                raise TypeError(f"an Answer is made of actions, not of {kind(action)}")
        object.__setattr__(self, "actions", actions)

    def to_json(self) -> dict[str, object]:
        """The answer as a document, every action in its form."""
        return {"actions": [action.to_json() for action in self.actions]}

    def problems(self) -> tuple[Problem, ...]:
        """Everything about this answer that MiniVoice would refuse; empty where it may be sent."""
        texts = [_written(action) for action in self.actions]
        unwritable = tuple(
            Problem(f"actions[{index}]", "holds what JSON cannot carry", "use JSON's own types")
            for index, text in enumerate(texts)
            if text is None
        )
        return unwritable or read_answer(f'{{"actions":[{",".join(map(str, texts))}]}}').problems

    def encode(self) -> bytes:
        """The body to send, UTF-8. Raises FaultyAnswer with every fault of a faulty one."""
        problems = self.problems()
        if problems:
            raise FaultyAnswer(problems)
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def read_answer(body: bytes | str) -> CheckedAnswer:
    """Read and check the body of an answer. Never raises: what is wrong is in the result."""
    text = read_json(body)
    if not text.readable:
        return CheckedAnswer((), text.problems, ())
    return _check(text.document, list(text.problems))


def check_answer(document: object) -> CheckedAnswer:
    """Check a JSON document as an answer. Never raises: what is wrong is in the result."""
    return _check(document, [])


@dataclass(slots=True)
class _Findings:
    """What was found so far.

    Full with MAX_PROBLEMS: the rest of the list is then not looked at. `named` has the places of
    what JSON cannot carry, where one fault is enough. `faulty` is cleared before each entry and set
    by its problems.
    """

    problems: list[Problem]
    named: frozenset[str] = frozenset()
    warnings: list[Problem] = field(default_factory=list)
    faulty: bool = False

    @property
    def full(self) -> bool:
        return len(self.problems) >= MAX_PROBLEMS

    def problem(self, path: str, message: str, mend: str) -> None:
        self.faulty = True
        if not self.full:
            self.problems.append(Problem(path, message, mend))

    def warning(self, path: str, message: str, mend: str) -> None:
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(Problem(path, message, mend))


def _check(document: object, problems: list[Problem]) -> CheckedAnswer:
    """Check the whole document; *problems* are those that its text already had."""
    found = _Findings(problems)
    entries = _entries(document, found)
    problems.extend(islice(faults(document), MAX_PROBLEMS))
    found.named = frozenset(problem.path for problem in problems)
    broken = frozenset(int(entry[1]) for entry in map(_ENTRY.match, found.named) if entry)
    actions: list[Action | None] = []
    types: list[str | None] = []
    for index, entry in enumerate(entries):
        if found.full:
            message = f"has the {MAX_PROBLEMS} faults listed, and from entry {index} was not read"
            problems.append(Problem("actions", message, "mend these first"))
            break
        found.faulty = index in broken
        action = _check_entry(entry, f"actions[{index}]", found)
        actions.append(None if found.faulty else action)
        types.append(None if action is None else action.type)
    unread = [None] * (len(entries) - len(actions))
    actions.extend(unread)
    types.extend(unread)
    _warn_of_the_unreached(actions, found)
    return CheckedAnswer(tuple(actions), tuple(problems), tuple(found.warnings), tuple(types))


def _entries(document: object, found: _Findings) -> list[object]:
    """The entries of the list; none where the document has no list."""
    if not isinstance(document, dict):
        found.problem("", f"is {kind(document)}, not an object", _LIST_EXAMPLE)
        return []
    for key in document:
        if key != "actions":
            found.warning(at("", key), "is not a field of an answer", _IGNORED)
    if "actions" not in document:
        found.problem("actions", "is missing", _LIST_EXAMPLE)
        return []
    entries = document["actions"]
    if not isinstance(entries, list):
        found.problem("actions", f"is {kind(entries)}, not a list", _LIST_EXAMPLE)
        return []
    if not entries:
        found.warning("actions", "is empty", "say what the call is to do")
    return entries


def _check_entry(entry: object, path: str, found: _Findings) -> Action | None:
    """Check one entry in whichever form it stands; None where not even its type is known."""
    if not isinstance(entry, dict):
        found.problem(path, f"is {kind(entry)}, not an object", _EXAMPLE)
        return None
    return _check_typed(entry, path, found) if "type" in entry else _check_keyed(entry, path, found)


def _check_typed(entry: dict[str, object], path: str, found: _Findings) -> Action | None:
    """Check `{"type": NAME, ...parameters}`."""
    name = entry["type"]
    rule = ACTIONS.get(name) if isinstance(name, str) else None
    own = rule.parameters if rule else {}
    # `mute` is an action and a parameter too: only what holds an object can be an action here.
    keyed = [
        key
        for key, value in entry.items()
        if key in ACTIONS and key not in own and isinstance(value, dict)
    ]
    if keyed:
        message = f"is both typed and keyed: {shown(name)} and {', '.join(keyed)}"
        found.problem(path, message, "write one object for each action")
    if not isinstance(name, str) or rule is None:
        _unknown_action(name, at(path, "type"), found)
        return None
    given = {key: value for key, value in entry.items() if key != "type" and key not in keyed}
    return _check_parameters(name, rule, given, path, found)


def _check_keyed(entry: dict[str, object], path: str, found: _Findings) -> Action | None:
    """Check `{NAME: {...parameters}}`; of several names each is checked, though none is usable."""
    known = [key for key in entry if key in ACTIONS]
    if not entry:
        found.problem(path, "is an empty object", _EXAMPLE)
    elif not known and len(entry) > 1:
        found.problem(path, 'has no "type" and no action as its only key', _EXAMPLE)
    elif not known:
        (name,) = entry
        _unknown_action(name, at(path, name), found)
    elif len(entry) > 1:
        keys = ", ".join(map(shown, list(entry)[: len(ACTIONS)]))
        message = f"has the keys {keys}, where one action alone may stand"
        found.problem(path, message, "write one object for each action")
    action: Action | None = None
    for name in known:
        given, place = entry[name], at(path, name)
        if isinstance(given, dict):
            action = _check_parameters(name, ACTIONS[name], given, place, found).keyed()
        else:
            found.problem(place, f"is {kind(given)}, not an object", "write its parameters in {}")
    return action if len(entry) == 1 else None


def _unknown_action(name: object, path: str, found: _Findings) -> None:
    """Report a type that is none, with the one that was probably meant."""
    if not isinstance(name, str):
        found.problem(path, f"is {kind(name)}, not a string", "write the name of an action")
        return
    meant = nearest(name, ACTIONS)
    mend = f"write {meant}" if meant else f"the actions are {', '.join(sorted(ACTIONS))}"
    found.problem(path, f"{shown(name)} is not an action", mend)


def _check_parameters(
    name: str, rule: ActionRule, given: dict[str, object], path: str, found: _Findings
) -> Action:
    """Check the parameters of one action, each by itself, then against each other."""
    good: dict[str, object] = {}
    values: dict[str, object] = {}
    for key, value in given.items():
        place = at(path, key)
        parameter = rule.parameters.get(key)
        if parameter is None:
            meant = nearest(key, rule.parameters)
            mend = f"write {meant}, if that was meant" if meant else _IGNORED
            found.warning(place, f"is not a parameter of {name}", mend)
            continue
        values[parameter.spells or key] = value
        if _check_value(parameter, value, place, found):
            good[parameter.spells or key] = value
        _check_spelling(parameter, given, place, found)
    for key, parameter in rule.parameters.items():
        if parameter.required and key not in values:
            found.problem(at(path, key), "is missing", f"add {parameter.kind.wanted}")
    for key, message, mend in rule.conflicts(good):
        found.problem(at(path, key), message, mend)
    return Action(name, values)


def _check_value(parameter: Parameter, value: object, place: str, found: _Findings) -> bool:
    """Check one value by its kind; what JSON cannot carry has been reported already."""
    messages = [] if place in found.named else list(parameter.kind.faults(value))
    for message in messages:
        found.problem(place, message, f"write {parameter.kind.wanted}")
    return not messages and place not in found.named


def _check_spelling(
    parameter: Parameter, given: dict[str, object], place: str, found: _Findings
) -> None:
    """Warn of what only an example of the documentation shows; refuse both spellings at once."""
    if parameter.spells is not None and parameter.spells in given:
        message = f"says once more what {parameter.spells} says"
        found.problem(place, message, f"keep {parameter.spells} alone")
    elif not parameter.tabled:
        mend = f"write {parameter.spells}" if parameter.spells else "leave it out, if you can"
        found.warning(place, "is in an example of the documentation, not in its table", mend)


def _warn_of_the_unreached(actions: list[Action | None], found: _Findings) -> None:
    """Warn once of the actions that no call will come to."""
    for index, action in enumerate(actions[:-1]):
        effect = ACTIONS[action.type].effect if action else "next"
        if action and effect in _NOT_RUN:
            message = _NOT_RUN[effect].format(type=action.type, index=index)
            found.warning(f"actions[{index + 1}]", message, f"put it before {action.type}")
            return


def _written(action: Action) -> str | None:
    """The JSON text of an action; None where it holds what JSON cannot carry."""
    try:
        return json.dumps(action.to_json())
    except (TypeError, ValueError, RecursionError):
        return None
