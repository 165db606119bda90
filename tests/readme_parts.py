"""Parts of the README that are made from the code, and the time that the code takes to read.

    python tests/readme_parts.py            writes the parts anew
    python tests/readme_parts.py reading    prints the reader's path: words and minutes of each file

A part stands in the README between two comments, `.. begin NAME` and `.. end NAME`.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minivoice_ref
from minivoice_ref import Config, Limits, Timeouts

__all__ = ["PARTS", "README", "path_of_the_reader", "settings", "words", "written_anew"]

README = Path(__file__).parent.parent / "README.rst"
_PACKAGE = Path(__file__).parent.parent / "minivoice_ref"
_GROUPS: tuple[tuple[str, str, type[Any]], ...] = (
    ("", "Config", Config),
    ("timeouts.", "Timeouts: seconds to wait", Timeouts),
    ("limits.", "Limits: how much of anything a peer can make us hold", Limits),
)
_NAME, _DEFAULT, _HELP = 37, 23, 54  # columns of the table
WORDS_A_MINUTE = 200


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.15g}" if isinstance(value, float) else "unset" if value is None else str(value)


def settings() -> str:
    """The table of all settings: name, default, meaning."""
    rule = " ".join("=" * (width - 1) for width in (_NAME, _DEFAULT, _HELP))
    lines = [rule, f"{'setting':<{_NAME}}{'unless set':<{_DEFAULT}}what it is", rule]
    for prefix, _, group in _GROUPS:
        for field in dataclasses.fields(group):
            if "help" not in field.metadata:
                continue  # a group, which comes below
            name, default = f"``{prefix}{field.name}``", f"``{_shown(field.default)}``"
            help = re.sub(r"`([^`]+)`", r"``\1``", field.metadata["help"])
            first, *rest = textwrap.wrap(help, _HELP - 1, break_on_hyphens=False)
            lines.append(f"{name:<{_NAME}}{default:<{_DEFAULT}}{first}")
            lines += [" " * (_NAME + _DEFAULT) + line for line in rest]
    return "\n".join([*lines, rule])


def path_of_the_reader() -> list[Path]:
    """The files that the package's first lines have one read within the hour, in order."""
    named = re.findall(r"^ *\d+\. `([\w/]+\.py)`", minivoice_ref.__doc__ or "", re.M)
    return [_PACKAGE / name for name in named]


def words(path: Path) -> int:
    """Words of a file, of prose and code alike; its imports and list of names are not read."""
    text = path.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.parse(text).body:
        is_names = isinstance(node, ast.Assign | ast.AugAssign) and "__all__" in ast.unparse(node)
        if isinstance(node, ast.Import | ast.ImportFrom) or is_names:
            lines[node.lineno - 1 : node.end_lineno] = [""] * (
                (node.end_lineno or 0) - node.lineno + 1
            )
    return sum(bool(re.search(r"\w", word)) for word in " ".join(lines).split())


def _reading() -> Iterator[str]:
    total = 0
    for path in path_of_the_reader():
        total += words(path)
        name = path.relative_to(_PACKAGE)
        yield f"{name!s:<32} {words(path):5} words  {total / WORDS_A_MINUTE:5.1f} minutes so far"


PARTS = {"settings": settings}


def written_anew(text: str) -> str:
    """The README's *text* with all its parts as the code has them now."""
    for name, part in PARTS.items():
        begin, end = f".. begin {name}\n", f"\n.. end {name}\n"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{part()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    if sys.argv[1:] == ["reading"]:
        print("\n".join(_reading()))
    else:
        README.write_text(written_anew(README.read_text("utf-8")), "utf-8")
