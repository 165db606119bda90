"""The README says what is so: its commands are those of CI, its code runs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from minivoice_ref.assumptions import as_rst
from minivoice_ref.cli import COMMANDS

ROOT = Path(__file__).parent.parent


PYTHON = r"\.\. code-block:: python\n   :name: (.*)\n\n((?:    .*\n|\n)+)"


def program(name: str) -> str:
    """The Python of the README that has this name."""
    return textwrap.dedent(dict(re.findall(PYTHON, (ROOT / "README.rst").read_text()))[name])


def test_each_python_of_the_readme_is_run_below() -> None:
    text = (ROOT / "README.rst").read_text()
    names = [name for name, _ in re.findall(PYTHON, text)]
    assert names == ["embedding", "testing", "adding-a-dialect"]
    assert text.count("code-block:: python") == len(names)


def commands_of_the_readme() -> list[str]:
    """The one-line commands of the README that do everything from an empty clone on."""
    return re.findall(r"^    (python3 -m venv .+)$", (ROOT / "README.rst").read_text(), re.M)


def test_the_readme_has_two_commands_and_ci_runs_both_as_written() -> None:
    demo, tests = commands_of_the_readme()
    assert demo.endswith("minivoice-ref demo") and tests.endswith("python -m pytest")
    in_ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in in_ci if line.startswith("python3 -m venv")] == [tests, demo]


def test_the_program_in_the_readme_runs(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program("embedding"))
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/answer\n", done.stdout)


def test_the_test_in_the_readme_passes_and_fails_where_half_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "test_mine.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "trio_mode=1"]
    path.write_text(program("testing"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    path.write_text(program("testing").replace("+= frame.seconds", "+= frame.seconds / 2"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout + done.stderr


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.rst").read_text()
    for command in COMMANDS:
        assert f"``{command}``" in text


def test_the_readme_lists_every_assumption_as_the_code_has_it() -> None:
    assert as_rst().strip() in (ROOT / "README.rst").read_text()


def test_the_dialect_in_the_readme_is_told_and_read_back(tmp_path: Path) -> None:
    """In a process of its own: a dialect registers itself for good."""
    path = tmp_path / "acme.py"
    path.write_text(program("adding-a-dialect") + textwrap.dedent("""
            from minivoice_ref.protocol.media import Media, MediaFormat
            from minivoice_ref.protocol.session import MediaSession

            encoder = AcmeEncoder()
            started = Started("acme", MediaFormat(), ("inbound",), call_id="call_1")
            session = MediaSession(dialect="acme", fallback=MediaFormat())
            messages = encoder.start(started) + encoder.media("inbound", bytes([255]), 20)
            events = [event for message in messages for event in session.receive(message)]
            assert events[0].call_id == "call_1", events
            assert events[-1] == Media("inbound", bytes([255]), MediaFormat(), 160, 1), events
            """))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
