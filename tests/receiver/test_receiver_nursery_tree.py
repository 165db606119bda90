"""Who is alive when: the README's tree is Trio's own, of a receiver in the middle of a call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from receiver_lab import HOST, open_lab, patient, settings

from minivoice_ref import App

README = Path(__file__).parent.parent.parent / "README.rst"
_COMMENTS_AT = 49

#: What each task is there for, in the order in which the tree has them. `nursery` comes with the
#: task that it was opened for.
TASKS = {
    "serve": "the inbox and the logs: opened first, closed last",
    "Journal.write_as_it_comes": "the three logs, off the event loop",
    "Worker.run": "hands committed events to app.on_event, retries",
    "serve_doors": "the order of draining",
    "Gatherer.run": "reads what all fast streams bring, every few ms",
    "_run_handler": "one a connection, in `guard`: the fault wall",
    "_run_handler HTTP": "plain HTTP: one request after another",
    "SimpleWire.read": "the goodbye's owner, cancelled last",
    "WebSocketConnection._reader_task": "",
    "_serve_application": "app.on_stream",
    "Recording.run": "whole seconds of audio to the disk",
    "Capture.run": "every message to the disk, as it came",
    "_receive": "socket → session → account, recording, bounded queue",
    "_keepalive": "a ping now and then, its pong under a deadline",
    "_watch_clock": "first message, silence, longest stream",
    "_watch_call": "call.completed came, and the linger is over",
    "serve_listeners": "cancelled first: no new connections",
    "_serve_one_listener": "",
}
NURSERIES = {
    "Journal.write_as_it_comes": "",
    "Worker.run": "workers",
    "serve_doors": "serving",
    "Gatherer.run": "gathering: outlives the connections",
    "_run_handler": "connections: outlive the doors; a deadline when draining",
    "SimpleWire.read": "the open WebSocket",
    "WebSocketConnection._reader_task": "",
    "_serve_application": "the company: what may outlive the socket a little",
    "_receive": "the watchers: whatever ends first ends all",
    "serve_listeners": "doors",
    "_serve_one_listener": "",
}


def name_of(task: trio.lowlevel.Task) -> str:
    """`minivoice_ref.receiver.worker.Worker.run` as `Worker.run`; a private class is left out."""
    parts = task.name.replace("open_lab.<locals>.run", "serve").split(".")
    short = ".".join(part for part in parts[-2:] if part == parts[-1] or part[0].isupper())
    return f"{short} HTTP" if short == "_run_handler" and not task.child_nurseries else short


def lines_of(name: str, comment: str, below: list[list[str]]) -> list[str]:
    """A node of the tree: its own line, then those of its children."""
    lines = [f"{name}\0{comment}"]
    for child in below:
        last = child is below[-1]
        lines.append(("└─ " if last else "├─ ") + child[0])
        lines += [("   " if last else "│  ") + line for line in child[1:]]
    return lines


def draw(task: trio.lowlevel.Task) -> list[str]:
    """A task, and in it its nurseries, each inside the one that was opened before it."""
    inner: list[str] | None = None
    for nursery in reversed(task.child_nurseries):
        tasks = sorted(nursery.child_tasks, key=lambda child: list(TASKS).index(name_of(child)))
        children = [draw(child) for child in tasks]
        if children:
            comment = NURSERIES[name_of(tasks[0])]
            inner = lines_of("nursery", comment, children + ([inner] if inner else []))
    name = name_of(task)
    return lines_of(name.removesuffix(" HTTP"), TASKS[name], [inner] if inner else [])


def aligned(lines: list[str]) -> Iterator[str]:
    for line in lines:
        name, _, comment = line.partition("\0")
        yield (f"{name:<{_COMMENTS_AT}}{comment}" if comment else name)


def task_of_the_server() -> trio.lowlevel.Task:
    """The task that the lab runs `serve` in."""
    for nursery in trio.lowlevel.current_task().child_nurseries:
        for task in nursery.child_tasks:
            if task.name.endswith("open_lab.<locals>.run"):
                return task
    raise LookupError("no server runs here")


async def test_the_tree_of_the_readme_is_that_of_a_receiver_in_the_middle_of_a_call(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    config = settings(tmp_path, record=True, capture=True, timeouts=patient())
    async with open_lab(App(), config) as lab, lab.stream() as caller:
        await caller.start()
        await caller.speak(50)
        async with await lab.network.connect(HOST, 80, False):
            await trio.testing.wait_all_tasks_blocked()
            drawn = "\n".join(aligned(draw(task_of_the_server())))
        await caller.stop()
    for name, comment in [*TASKS.items(), *NURSERIES.items()]:
        assert name.removesuffix(" HTTP") in drawn and comment in drawn, f"{name} lives no more"
    in_the_readme = "\n".join(f"    {line}" for line in drawn.splitlines())
    if in_the_readme not in README.read_text("utf-8"):
        pytest.fail(f"the README's tree is another; it should be:\n\n{in_the_readme}")
