"""The rules of the house that a program can check, checked over the source itself."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minivoice_ref"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]

#: What the pure core may import of the standard library. Not time, socket, logging, random, os.
PURE = {
    "__future__", "abc", "array", "base64", "bisect", "binascii", "collections", "dataclasses",
    "datetime",
    "difflib", "enum", "functools", "hashlib", "hmac", "ipaddress", "itertools", "json", "math",
    "operator", "re", "struct", "sys", "types", "typing", "urllib",
}  # fmt: skip

#: room -> the rooms it may import from, beside itself.
ALLOWED = {
    "protocol": set(),
    "net": {"protocol", "config"},
    "receiver": {"protocol", "net", "config"},
    "simulator": {"protocol", "net", "config"},
    "console": {"protocol", "net", "receiver", "config"},
    "metrics": {"protocol", "net", "receiver", "config", "metrics_workers"},
    "metrics_workers": {"receiver"},
    "config": {"protocol"},
}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """The full names of the modules that *path* imports, wherever in the file."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module in ("minivoice_ref", "minivoice_ref.protocol", "minivoice_ref.net"):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def room(module: str) -> str:
    """`minivoice_ref.net.http` -> `net`; what belongs to the configuration is one room."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else ""
    return "config" if name.startswith("config_") or name == "_version" else name


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_go_one_way(path: Path) -> None:
    here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for module in imports(path):
        if module.startswith("minivoice_ref") and here in ALLOWED:
            there = room(module)
            assert there == here or there in ALLOWED[here], f"{here} imports {module}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "protocol").rglob("*.py")), ids=str)
def test_the_protocol_imports_nothing_that_waits_or_guesses(path: Path) -> None:
    for module in imports(path):
        assert module.startswith("minivoice_ref.protocol") or module.split(".")[0] in PURE, module


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("trio_websocket", {"net/websocket.py", "net/simple_wire.py"}),
        ("wsproto", {"net/manners.py", "net/simple_wire.py", "net/fast_wire.py"}),
        ("h11", {"net/http.py", "net/http_client.py", "net/front_door.py"}),
        ("sqlite3", {"receiver/inbox.py", "receiver/inbox_file.py", "receiver/neighbours.py"}),
        ("trustme", {"certificates.py"}),
        ("coredis", {"receiver/cluster_client.py"}),
        ("prometheus_client", {"metrics.py", "metrics_workers.py"}),
        ("pytest", {"pytest_plugin.py"}),
    ],
)
def test_each_library_has_its_rooms(library: str, homes: set[str]) -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if any(module.split(".")[0] == library for module in imports(path))
    }
    assert importers and importers <= homes


def test_the_core_needs_only_what_was_promised() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needs = setup["options"]["install_requires"].split()
    assert {re.split(r"[><=~]", need)[0] for need in needs} == {
        "trio",
        "trio-websocket",
        "wsproto",
        "h11",
    }
    known = set(sys.stdlib_module_names) | {"trio", "trio_websocket", "wsproto", "h11"}
    known |= {"trustme", "coredis", "prometheus_client", "pytest"}  # each of an extra
    for path in MODULES:
        for module in imports(path):
            assert module.split(".")[0] in known | {"minivoice_ref"}, f"{path} imports {module}"


#: Where `except Exception` may stand, and why: the fault wall, and the edge to the application.
WALLS = {
    ("net/front_door.py", "guard"),  # the fault wall of a connection
    ("net/fast_wire.py", "_take_what_is_there"),  # carried to the task of the stream, raised there
    ("receiver/answers.py", "_ask"),  # a failing on_answer is a 500
    ("receiver/worker.py", "_try"),  # a failing on_event is tried again
}


def catch_alls(path: Path) -> Iterator[str]:
    """The names of the functions of *path* with a handler that catches everything."""
    for function in functions(parse(path)):
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler):
                names = (
                    {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
                    if node.type
                    else {"bare"}
                )
                if names & {"Exception", "bare"} or (
                    "BaseException" in names
                    and not any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(node))
                ):
                    yield function.name


def test_there_is_one_fault_wall_and_the_edge_to_the_application() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), name) for path in MODULES for name in catch_alls(path)
    }
    assert found == WALLS


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_no_function_takes_a_timeout(path: Path) -> None:
    for function in functions(parse(path)):
        arguments = function.args.args + function.args.kwonlyargs + function.args.posonlyargs
        assert "timeout" not in {argument.arg for argument in arguments}, function.name


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_there_are_no_async_generators_and_no_stored_nurseries(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.AsyncFunctionDef):
            managed = any("asynccontextmanager" in ast.unparse(d) for d in node.decorator_list)
            yields = [n for n in ast.walk(node) if isinstance(n, ast.Yield | ast.YieldFrom)]
            assert managed or not yields, f"{node.name} is an async generator"
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                assert not (
                    isinstance(target, ast.Attribute) and "nursery" in target.attr
                ), f"line {node.lineno} stores a nursery"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_shield_has_a_deadline_or_an_owner(path: Path) -> None:
    """`move_on_after(…, shield=True)` has a deadline; the one owned shield is the reader's."""
    text = path.read_text("utf-8")
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and any(k.arg == "shield" for k in node.keywords):
            called = ast.unparse(node.func)
            assert called.endswith(("move_on_after", "fail_after")), f"{path}:{node.lineno}"
    if re.search(r"\.shield\s*=\s*True", text):
        assert path.name == "simple_wire.py"


SHOWN = sorted([*(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
BLOCKS = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith),
    *(ast.Try, ast.TryStar, ast.Match),
)


def depth(node: ast.AST) -> int:
    """How deep blocks stand in each other below *node*; an `elif` is no deeper than its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def test_depth_counts_blocks_in_blocks() -> None:
    code = "if a:\n  pass\nelif b:\n  for c in d:\n    with e:\n      pass\nelse:\n  pass"
    assert depth(ast.parse(code)) == 3


@pytest.mark.parametrize("path", [*MODULES, *SHOWN], ids=str)
def test_every_room_is_small_enough_to_see_its_walls(path: Path) -> None:
    tree = parse(path)
    assert len(path.read_text("utf-8").splitlines()) <= 350
    for function in functions(tree):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        length = (function.end_lineno or 0) - body[0].lineno + 1 if body else 0
        assert length <= 40, f"{function.name} has {length} lines"
        assert depth(function) <= 4, f"{function.name} nests {depth(function)} deep"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_module_says_what_it_is_and_every_public_thing_too(path: Path) -> None:
    tree = parse(path)
    if path.name == "_version.py":
        return
    if path.name != "__init__.py" or path.read_text("utf-8").strip():
        assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            assert node.name.startswith("_") or ast.get_docstring(node), f"{path.name}: {node.name}"


def methods(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The public methods of the public classes of a module, each with its class's name."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    if not method.name.startswith("_"):
                        yield node.name, method


def test_every_public_method_is_described_where_it_stands_or_where_it_was_promised() -> None:
    """What fulfils the promise of a base class or of a seam is described there, once."""
    trees = {path: parse(path) for path in MODULES}
    promised = {m.name for tree in trees.values() for _, m in methods(tree) if ast.get_docstring(m)}
    for path, tree in trees.items():
        for owner, method in methods(tree):
            described = ast.get_docstring(method) or method.name in promised
            assert described, f"{path.name}: {owner}.{method.name}"


ESSAYS = (
    "protocol/session",
    "net/front_door",
    "net/websocket",
    "net/tls_stream",
    "net/fast_wire",
    "receiver/server",
    "receiver/stream",
)


@pytest.mark.parametrize("name", ESSAYS)
def test_a_hard_file_begins_with_an_essay_and_its_picture(name: str) -> None:
    essay = ast.get_docstring(parse(PACKAGE / f"{name}.py")) or ""
    picture = [line for line in essay.splitlines() if line.startswith("    ")]
    assert len(essay.split()) > 150 and len(picture) >= 6


def test_queues_are_bounded() -> None:
    for path in MODULES:
        text = path.read_text("utf-8")
        assert "open_memory_channel(math.inf)" not in text and "queue.Queue()" not in text, path


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a developer's machine and no registry's host name in anything we ship."""
    shipped = [
        *MODULES,
        *ROOT.glob("*.rst"),
        *ROOT.glob("*.cfg"),
        *(ROOT / "examples").rglob("*.py"),
    ]
    for path in shipped:
        text = path.read_text("utf-8")
        assert not re.search(r"/root/|/work/|pypi\.org|pythonhosted|npmjs|deb\.debian", text), path
