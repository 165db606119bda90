"""python tests/documented/documented_page.py: writes docs/documented.rst, from facts and tests.

The facts stand in facts.toml. Which test holds a fact says the test, by a marker:

    @pytest.mark.documents("wss-only", "bad-list")
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "Fact", "holders", "names_in", "page", "read_facts"]

_TESTS = Path(__file__).parent.parent
_PACKAGE = _TESTS.parent / "minivoice_ref"
PAGE = _TESTS.parent / "docs" / "documented.rst"

_HEAD = """\
What the platform documents
===========================

Each fact of MiniVoice's documentation on media streams, actions, the ``answer_url`` and webhooks,
in our words; where it is in the code; which test holds it. What the documentation leaves open is
assumed: the README lists those assumptions.

Written by ``python tests/documented/documented_page.py`` from ``tests/documented/facts.toml`` and
the markers of the tests; a test sees to it that it is current.
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: what is documented, and where it is in the code, as (file, name)."""

    section: str
    says: str
    code: tuple[tuple[Path, str], ...]


def read_facts() -> dict[str, Fact]:
    """All facts, in the documentation's order."""
    table = tomllib.loads((_TESTS / "documented" / "facts.toml").read_text("utf-8"))
    return {
        name: Fact(
            f"{told['section']}. {table['sections'][str(told['section'])]}",
            told["says"],
            tuple(_place(place) for place in told["code"]),
        )
        for name, told in table["facts"].items()
    }


def _place(written: str) -> tuple[Path, str]:
    file, _, name = written.partition(":")
    return (_PACKAGE / file).resolve(), name


@functools.cache
def names_in(path: Path) -> set[str]:
    """What is defined in a module: functions, classes, methods and what is assigned at the top."""
    tree = ast.parse(path.read_text("utf-8"))
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {node.name for node in ast.walk(tree) if isinstance(node, defined)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _marked(path: Path) -> Iterator[tuple[str, str]]:
    """The tests of a file with the facts that they hold: (fact, test)."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.documents":
                    yield from ((ast.literal_eval(fact), node.name) for fact in mark.args)


@functools.cache
def holders() -> Mapping[str, list[tuple[Path, str]]]:
    """The tests that hold each fact, as (file, test), in the order of files and lines."""
    found: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for path in sorted(_TESTS.rglob("test_*.py")):
        for fact, test in _marked(path):
            found[fact].append((path, test))
    return found


def _literals(text: str) -> str:
    return text.replace("`", "``")


def page() -> str:
    """The page as it should be."""
    tests, lines, section = holders(), [_HEAD], ""
    for name, fact in read_facts().items():
        if fact.section != section:
            section = fact.section
            lines += [section, "-" * len(section), ""]
        lines += [f"**{name}.** {_literals(fact.says)}", ""]
        for path, where in fact.code:
            lines.append(f"- code: ``{path.relative_to(_TESTS.parent)}``, ``{where}``")
        for path, test in tests.get(name, ()):
            lines.append(f"- test: ``{path.relative_to(_TESTS.parent)}``, ``{test}``")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
