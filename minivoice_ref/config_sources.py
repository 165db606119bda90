"""Where settings come from: TOML files, environment variables, and the conversion of their values.

What the settings are and which values can work stands in `config.py`; this module only knows that
they are fields of a dataclass, some of them in groups.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from minivoice_ref.protocol.errors import MiniVoiceError, Problem

__all__ = ["GROUPS", "ConfigError", "read_environ", "read_toml"]

GROUPS = ("limits", "timeouts")
# What Kubernetes puts into the environment beside a service of the name `minivoice`.
_OF_A_CLUSTER = re.compile(r"MINIVOICE_(SERVICE|PORT)(_|$)")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class ConfigError(MiniVoiceError):
    """A setting cannot be used. `problems` names every one, where it stands and how to mend it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def read_toml(cls: type, path: Path) -> dict[str, Any]:
    """The settings of *cls* in a TOML file, converted; groups are dicts. Raises ConfigError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        reason, mend = f"cannot be read: {exc.strerror}", "name a readable file"
    except ValueError as exc:
        reason, mend = f"is not TOML: {exc}", "mend the file where it says"
    else:
        return _read(cls, document, f"{path}: ")
    raise ConfigError([Problem(str(path), reason, mend)])


def read_environ(cls: type, environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings of *cls* in `MINIVOICE_…` variables, as `read_toml` gives them."""
    secrets = [f.name for f in dataclasses.fields(cls) if f.metadata.get("secret")]
    document: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith("MINIVOICE_") or _OF_A_CLUSTER.match(name):
            continue
        key = name.removeprefix("MINIVOICE_").lower()
        group, _, member = key.partition("_")
        if key.removesuffix("_file") in secrets and key.endswith("_file"):
            document[key.removesuffix("_file")] = _read_secret(name, Path(value))
        elif group in GROUPS:
            document.setdefault(group, {})[member] = value
        else:
            document[key] = value
    return _read(cls, document, "environment: ")


def _read_secret(name: str, path: Path) -> str:
    """The secret in the file that the variable *name* points to."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        problem = f"its file {str(path)!r} cannot be read: {why}"
        raise ConfigError([Problem(name, problem, "name a readable text file")]) from None


def _read(cls: type, document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of *document* as the settings of *cls* have their types; groups stay dicts."""
    hints = get_type_hints(cls)
    secrets = {f.name for f in dataclasses.fields(cls) if f.metadata.get("secret")}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in document.items():
        if name not in hints:
            nearest = difflib.get_close_matches(name, hints, 1)
            mend = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(hints)}"
            problems.append(Problem(f"{where}{name}", "is not a setting", mend))
            continue
        try:
            if name not in GROUPS:
                values[name] = _convert(value, hints[name])
            elif isinstance(value, Mapping):
                values[name] = _read(hints[name], value, f"{where}{name}.")
            else:
                raise ValueError("a table of settings")
        except ConfigError as exc:
            problems.extend(exc.problems)
        except ValueError as exc:
            shown = "the value" if name in secrets else repr(value)
            problems.append(Problem(f"{where}{name}", f"{shown} cannot be used", f"give {exc}"))
    if problems:
        raise ConfigError(problems)
    return values


def _convert(value: Any, hint: Any) -> Any:
    """*value*, from TOML or the environment, as a setting's type; ValueError says what to give."""
    if hint is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        raise ValueError("true or false")
    if hint in (float | None, int | None):
        hint = float if hint == (float | None) else int
    if hint in (int, float):
        try:
            if isinstance(value, bool) or (hint is int and isinstance(value, float)):
                raise ValueError
            return hint(value)
        except (TypeError, ValueError):
            raise ValueError("a whole number" if hint is int else "a number") from None
    if not isinstance(value, str):
        raise ValueError("text")
    if hint == (Path | None) or hint is Path:
        return Path(value)
    return value
