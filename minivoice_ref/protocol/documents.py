"""JSON from a peer: read without ever raising, its faults named by their place.

Python's `json` is more generous than JSON (NaN, repeated keys, halves of surrogate pairs) and less
robust than a server needs (deep nesting and huge numbers raise exceptions that are not its own).
`read_json` hands out the document together with what is wrong with it as a text; `faults` walks a
document for what JSON cannot carry; `read_document` is both, for whoever takes a document without a
fault or none. What a document *means* is not known here.

Facts: RFC 8259 (UTF-8 without a byte order mark, section 8.1; names should be unique, section 4;
limits on depth and range are the reader's to set, section 9).

Read next: `actions.py` and `webhooks.py`, which read their documents with this.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from minivoice_ref.protocol.errors import InvalidDocument, LocalProtocolError, Problem

__all__ = ["MAX_DEPTH", "MAX_PROBLEMS", "JsonText", "at", "encode_json", "faults", "kind"]
__all__ += ["did_you_mean", "nearest", "read_document", "read_json", "shown"]

MAX_DEPTH = 64
"""Lists and objects inside each other; nothing that MiniVoice documents needs more than four."""

MAX_PROBLEMS = 100
"""Problems listed of one document: enough to mend at a time, and not for the peer to decide."""

_LONGEST_NUMBER = 64  # digits; beyond that nobody means a number, and int() has limits of its own
_WIDEST_NUMBER = 256  # bits: no number of so many digits has more
_SHOWN = 60  # characters of a peer's value that a message quotes
_MOST_NEAR = 6
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NOT_JSON = "send one JSON document (RFC 8259) and nothing else"


@dataclass(frozen=True, slots=True)
class JsonText:
    """What a text held. `document` means something only where `readable` is true."""

    document: object
    problems: tuple[Problem, ...]
    readable: bool


class _RepeatedKeys(dict[str, Any]):
    """An object whose text had keys more than once; as a dict it holds the last of each."""

    repeated: tuple[str, ...] = ()


def read_json(body: bytes | str) -> JsonText:
    """Read *body* as one JSON document; never raises, whatever the peer sent.

    The document may still hold what JSON cannot carry: `faults` finds it, with its place.
    """
    problems: list[Problem] = []
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
    except UnicodeDecodeError as exc:
        where = f"byte {exc.start} begins no character"
        return _unreadable(f"is not UTF-8: {where}", "encode it as UTF-8 (RFC 8259 section 8.1)")
    if text.startswith("\ufeff"):
        text = text[1:]
        problems.append(Problem("", "begins with a byte order mark", "leave the mark out"))
    if not text.strip(" \t\r\n"):
        return _unreadable("is empty", _NOT_JSON, problems)
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_int=_number)
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        return _unreadable(f"is not JSON: {exc.msg} at {place}", _NOT_JSON, problems)
    except RecursionError:
        return _unreadable(f"is nested deeper than {MAX_DEPTH} levels", "flatten it", problems)
    return JsonText(document, tuple(problems), readable=True)


def read_document(body: bytes | str, what: str) -> object:
    """Read *body* as one JSON document. Raises InvalidDocument, which calls it *what*."""
    text = read_json(body)
    problems = [*text.problems, *islice(faults(text.document), MAX_PROBLEMS)]
    if problems:
        raise InvalidDocument(what, problems[:MAX_PROBLEMS])
    return text.document


def faults(document: object, path: str = "") -> Iterator[Problem]:
    """Find what JSON cannot carry in *document*, in the document's order, and where it stands.

    Each list and each object is visited once, so that one which holds itself does no harm.
    """
    waiting: list[tuple[object, str, int]] = [(document, path, 1)]
    seen: set[int] = set()
    if not isinstance(document, (dict, list)):
        yield from _scalar_faults(document, path)
    while waiting:
        value, where, depth = waiting.pop()
        if not isinstance(value, (dict, list)) or id(value) in seen:
            continue
        seen.add(id(value))
        if depth > MAX_DEPTH:
            yield Problem(
                _outermost(where), f"is nested deeper than {MAX_DEPTH} levels", "flatten it"
            )
            continue
        if isinstance(value, dict):
            yield from _key_faults(value, where)
        inner: list[tuple[object, str, int]] = []
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (dict, list)):
                inner.append((item, at(where, key), depth + 1))
            elif not _is_plain(item):
                yield from _scalar_faults(item, at(where, key))
        waiting.extend(reversed(inner))


def encode_json(document: object, what: str) -> bytes:
    """Write *document* as compact UTF-8 JSON; LocalProtocolError where JSON cannot carry it."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise LocalProtocolError(f"{what} cannot be written as JSON: {exc}") from exc


def at(path: str, key: object) -> str:
    """The place of *key* (an object's name or a list's index) below *path*, as problems name it."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not isinstance(key, str) or not _NAME.fullmatch(key):
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def _outermost(path: str) -> str:
    """Where *path* begins: of one that leads into 64 levels nobody wants to read the rest."""
    return path if len(path) <= _SHOWN else path[:_SHOWN].rstrip("[.0123456789") + "…"


def kind(value: object) -> str:
    """What JSON calls *value*, with its article: `a string`, `null`, `an object`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for types, name in (
        (str, "a string"),
        ((int, float), "a number"),
        (dict, "an object"),
        (list, "a list"),
    ):
        if isinstance(value, types):
            return name
    return f"a Python {type(value).__name__}"


def shown(value: object) -> str:
    """A short quotation of a peer's *value* for a message: bounded, nothing in it unprintable."""
    if isinstance(value, str):
        return repr(str(value)) if len(value) <= _SHOWN else repr(str(value[:_SHOWN])) + "…"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float) or (
        isinstance(value, int) and value.bit_length() <= _WIDEST_NUMBER
    ):
        return str(value)
    return kind(value)


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The one of *known* that *name* was probably meant to be."""
    if not isinstance(name, str) or len(name) > _SHOWN:
        return None
    found = get_close_matches(name.lower().replace("-", "_"), list(known), n=1)
    return found[0] if found else None


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """The *names* that *given* is a part of or is like, as the end of a sentence; none: empty."""
    names, low = list(names), given.lower()
    near = [name for name in names if low and low in name][:_MOST_NEAR]
    near = near or get_close_matches(low, names)
    if not near:
        return ""
    *first, last = near
    return f"; did you mean {', '.join(first)} or {last}?" if first else f"; did you mean {last}?"


def _unreadable(message: str, mend: str, before: Iterable[Problem] = ()) -> JsonText:
    return JsonText(None, (*before, Problem("", message, mend)), readable=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object as `json.loads` would, remembering which of its keys stood more than once."""
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    counts: dict[str, int] = {}
    for key, _ in pairs:
        counts[key] = counts.get(key, 0) + 1
    marked = _RepeatedKeys(plain)
    marked.repeated = tuple(key for key, count in counts.items() if count > 1)
    return marked


def _number(text: str) -> int | float:
    """An integer; one of absurd length becomes infinite, which `faults` reports with its place."""
    if len(text) > _LONGEST_NUMBER:
        return -math.inf if text.startswith("-") else math.inf
    return int(text)


def _is_plain(value: object) -> bool:
    """True for the great majority of values, whose place need not be worked out."""
    if isinstance(value, str):
        return value.isascii()
    return value is None or type(value) is int and value.bit_length() <= _WIDEST_NUMBER


def _scalar_faults(value: object, where: str) -> Iterator[Problem]:
    """What JSON cannot carry of one value that is neither a list nor an object."""
    if isinstance(value, str):
        if not _is_unicode(value):
            yield Problem(
                where, "holds half of a surrogate pair", "write whole characters or both halves"
            )
    elif isinstance(value, float):
        if math.isnan(value):
            yield Problem(
                where, "is NaN, which JSON does not have", "write a number or leave it out"
            )
        elif math.isinf(value):
            yield Problem(where, "is a number too large to read", "write a smaller number")
    elif isinstance(value, int):
        if value.bit_length() > _WIDEST_NUMBER:
            yield Problem(where, "is a number too large to read", "write a smaller number")
    elif value is not None:
        yield Problem(where, f"is {kind(value)}, which JSON does not have", "use JSON's own types")


def _key_faults(value: dict[Any, Any], where: str) -> Iterator[Problem]:
    """What JSON cannot carry, or should not, of an object's keys."""
    if isinstance(value, _RepeatedKeys):
        for key in value.repeated:
            yield Problem(where, f"has the key {shown(key)} more than once", "keep one of them")
    for key in value:
        if not isinstance(key, str):
            yield Problem(where, f"has the key {shown(key)}, which is no string", "use strings")
        elif not key.isascii() and not _is_unicode(key):
            yield Problem(
                where, f"has the key {shown(key)} with half of a surrogate pair", "write it whole"
            )


def _is_unicode(text: str) -> bool:
    """False where UTF-8 cannot carry *text* because half of a surrogate pair stands alone."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
