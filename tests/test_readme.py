"""The README says what is so: its commands and its code run, its parts are those of the code.

The commands of its blocks run as they stand there, save for names that somebody else has:
`https://app.example.com` is the receiver that `serve` of the README starts here, on a free port.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from docutils.core import publish_string
from readme_parts import README, WORDS_A_MINUTE, path_of_the_reader, words, written_anew

from minivoice_ref.assumptions import as_rst
from minivoice_ref.cli import COMMANDS, main

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
    """The one-line commands of the README that do everything from a fresh clone on."""
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


@dataclass(frozen=True)
class Receiver:
    """The receiver that the README's commands have started, and where its commands are run."""

    folder: Path
    port: int
    environ: Mapping[str, str]

    def run(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the README, with *more* arguments."""
        for host in ("https://localhost:8443", "https://app.example.com"):
            command = command.replace(host, f"https://localhost:{self.port}")
        words = [word for word in command.split() if not word.startswith("MINIVOICE_")]
        assert words[0] == "minivoice-ref"
        return subprocess.run(
            [sys.executable, "-m", "minivoice_ref", *words[1:], *more],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )


def commands_with(name: str) -> list[str]:
    """The commands of the README's blocks that begin so, without the breaks of their lines."""
    text = (ROOT / "README.rst").read_text().replace(" \\\n        ", " ")
    return re.findall(rf"^    (?:\$ )?((?:\w+=\w+ )?minivoice-ref {name}\b.*)$", text, re.M)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "secret").write_text("the-secret-of-this-test")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environ = {
        **os.environ,
        "MINIVOICE_WEBHOOK_SECRET_FILE": "secret",
        "MINIVOICE_LISTEN": f"127.0.0.1:{port}",
        "SSL_CERT_FILE": str(folder / "certs" / "ca.pem"),
    }
    here = Receiver(folder, port, environ)
    (cert,), (serve, _) = commands_with("cert"), commands_with("serve")
    assert here.run(cert).returncode == 0
    command = [sys.executable, "-m", "minivoice_ref", *serve.split()[1:]]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("health"):
            assert line, "the receiver has ended"
        yield here
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0


def test_the_readmes_commands_serve_call_and_explain(receiver: Receiver) -> None:
    (call,), (last, named) = commands_with("call"), commands_with("explain")
    called = receiver.run(call, "--speak", "1")
    assert called.returncode == 0, called.stdout
    (call_id,) = set(re.findall(r"call (call_\S+): PASS", called.stdout))
    explained = receiver.run(last)
    assert explained.returncode == 0 and call_id in explained.stdout
    explained = receiver.run(named.replace("call_20260529T120000.000000000", call_id))
    assert explained.returncode == 0 and call_id in explained.stdout
    assert json.loads(explained.stdout)


def test_the_readmes_conformance_and_doctor_find_the_readmes_receiver_good(
    receiver: Receiver,
) -> None:
    (conformance,), (doctor,) = commands_with("conformance"), commands_with("doctor")
    tried = receiver.run(conformance, "--only", "track-both", "--speak", "1.2")
    assert tried.returncode == 0, tried.stdout
    assert (receiver.folder / "conformance.xml").stat().st_size > 0
    examined = receiver.run(doctor)
    assert "✗" not in examined.stdout.replace("✗  days", ""), examined.stdout


def test_the_readme_has_no_other_command_in_its_blocks() -> None:
    known = ("cert", "serve", "call", "explain", "conformance", "doctor")
    commands = [command for name in known for command in commands_with(name)]
    assert len(commands) == 8
    assert commands_with("") == [] or sorted(commands_with(r"\w+")) == sorted(commands)


OPTION = r"(?<![\w-])--[a-z][a-z-]+"


def literals() -> list[str]:
    """What stands in the README between double backquotes, without the breaks of lines."""
    found = re.findall(r"``(.+?)``", (ROOT / "README.rst").read_text(), re.S)
    return [" ".join(literal.split()) for literal in found]


def test_every_option_that_the_readme_names_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with suppress(SystemExit):
            main([name, "--help"])
    known = set(re.findall(OPTION, capsys.readouterr().out))
    named = {
        option
        for literal in literals()
        for option in re.findall(OPTION, literal)
        if "benchmarks." not in literal and not literal.startswith(("python", "…"))
    }
    assert named - known == set()
    assert len(named) > 25


def test_every_option_that_the_readme_gives_a_benchmark_is_one_of_it() -> None:
    commands = [literal.split() for literal in literals() if " -m benchmarks." in literal]
    given = {(words[2], word) for words in commands for word in words if word.startswith("--")}
    assert len(given) > 10
    for module in sorted({name for name, _ in given}):
        asked = [sys.executable, "-m", module, "--help"]
        helped = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
        options = {option for name, option in given if name == module}
        assert options <= set(re.findall(OPTION, helped.stdout)), module


def test_every_module_and_file_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.rst").read_text()
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert importlib.util.find_spec(module), module
    for name in re.findall(r"``(?:python )?((?:docs|examples|tests|benchmarks)/[\w/.-]+\w)", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"^``(\w+\.py)`` ", text, re.M):
        assert (ROOT / "examples" / name).exists(), name
    examples = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert examples == set(re.findall(r"^``(\w+\.py)`` ", text, re.M))


def test_the_parts_that_are_made_from_the_code_are_current() -> None:
    text = README.read_text("utf-8")
    assert written_anew(text) == text, "run python tests/readme_parts.py"


def test_the_heart_of_the_package_is_read_within_the_hour_in_the_readmes_order() -> None:
    path = path_of_the_reader()
    assert sum(map(words, path)) <= 60 * WORDS_A_MINUTE
    text = README.read_text("utf-8").partition("Reading the code\n")[2]
    names = [f"{file.parent.name}/{file.name}" for file in path]
    assert re.findall(r"(\w+/\w+\.py)``", text)[: len(names)] == names


@pytest.mark.parametrize("name", ["README.rst", "CHANGES.rst", "docs/documented.rst"])
def test_the_pages_render_without_a_warning(name: str) -> None:
    said = io.StringIO()
    settings = {"warning_stream": said, "report_level": 2, "halt_level": 5}
    text = (ROOT / name).read_text("utf-8")
    publish_string(text, writer="html5", settings_overrides=settings)
    assert said.getvalue() == ""


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
