"""The error catalogue and the code are in step, and a line that tells of trouble has its code."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing

import minivoice_ref
from minivoice_ref.protocol.error_catalogue import CATALOGUE, GROUPS
from minivoice_ref.protocol.error_texts import TEXTS
from minivoice_ref.protocol.errors import Problem, RemoteProtocolError
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.codes import code_of_answer, code_of_connection, code_of_refusal
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.journal import Journal, Log
from receiver_lab import open_lab, patient, settings, wall_clock, webhook

PACKAGE = Path(minivoice_ref.__file__).parent


def constants(path: Path) -> Counter[str]:
    """The codes that stand as texts of their own in a file."""
    return Counter(
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"MV-\d+", node.value)
    )


def test_every_code_that_is_used_exists_and_every_code_of_the_table_is_used() -> None:
    used: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        # That a code is a remark does not mean that anything gives it.
        if path.name != "explanation.py":
            used += constants(path)
    assert set(used) == set(CATALOGUE)
    assert set(constants(PACKAGE / "receiver" / "explanation.py")) <= set(CATALOGUE)


def test_the_catalogue_has_read_its_whole_text() -> None:
    assert list(CATALOGUE) == sorted(re.findall(r"^MV-\d+", TEXTS, re.MULTILINE))
    for field in ("cause", "mend"):
        assert len(re.findall(rf"^{field}: ", TEXTS, re.MULTILINE)) == len(CATALOGUE)
    letters = sum(len("".join(text.split())) for text in (TEXTS,))
    read = sum(
        len("".join(f"{e.code}{e.title}cause:{e.cause}mend:{e.mend}".split()))
        for e in CATALOGUE.values()
    )
    assert letters == read
    assert {entry.group for entry in CATALOGUE.values()} == set(GROUPS.values())


def test_other_codes_that_the_catalogue_names_exist() -> None:
    for entry in CATALOGUE.values():
        assert set(re.findall(r"MV-\d+", entry.cause + entry.mend)) <= set(CATALOGUE)


def test_settings_that_the_catalogue_names_exist() -> None:
    from minivoice_ref.config import Limits, Timeouts

    for owner, name in re.findall(r"\b(limits|timeouts)\.(\w+)", TEXTS):
        assert hasattr({"limits": Limits(), "timeouts": Timeouts()}[owner], name)


def trouble_calls() -> list[tuple[str, ast.Call]]:
    """Each call in the receiver that names a level above information."""
    return [
        (f"{path.name}:{node.lineno}", node)
        for path in (PACKAGE / "receiver").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and any(
            keyword.arg == "level" and re.search("WARNING|ERROR", ast.unparse(keyword.value))
            for keyword in node.keywords
        )
    ]


def test_whoever_notes_trouble_names_its_code() -> None:
    calls = trouble_calls()
    assert calls
    for place, call in calls:
        name = ast.unparse(call.func)
        has_code = any(keyword.arg in ("code", None) for keyword in call.keywords)  # or **fields
        assert has_code or name == "partial", place


def test_a_code_that_is_not_in_the_catalogue_is_a_slip(tmp_path: Path) -> None:
    journal = Journal(tmp_path, InlineDisk(1), clock=lambda: 0.0, secrets=())
    with pytest.raises(KeyError):
        journal.note("streams", "gap", code="MV-000")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("tls_failed", None, "MV-301"),
        ("silent", None, "MV-302"),
        ("refused", 400, "MV-303"),
        ("refused", 408, "MV-304"),
        ("refused", 413, "MV-305"),
        ("refused", 431, "MV-305"),
        ("upgrade_refused", 400, "MV-306"),
        ("upgrade_refused", 426, "MV-306"),
        ("upgrade_refused", 503, "MV-307"),
        ("lost", None, "MV-308"),
        ("failed", None, "MV-701"),
        ("something new", None, "MV-303"),
    ],
)
def test_each_trouble_with_a_connection_has_its_code(
    kind: str, status: int | None, code: str
) -> None:
    assert code_of_connection(kind, status) == code


@pytest.mark.parametrize(
    ("log", "status", "code"),
    [
        ("answers", 400, "MV-105"),
        ("answers", 405, "MV-106"),
        ("answers", 415, "MV-105"),
        ("streams", 404, "MV-205"),
        ("streams", 405, "MV-310"),
        ("streams", 426, "MV-309"),
        ("streams", 400, "MV-303"),
        ("webhooks", 400, "MV-605"),
        ("webhooks", 405, "MV-606"),
        ("webhooks", 415, "MV-606"),
    ],
)
def test_each_refusal_has_its_code(log: Log, status: int, code: str) -> None:
    assert code_of_refusal(log, RemoteProtocolError("no", status=status)) == code


def test_an_answer_whose_only_fault_is_its_url_has_the_code_of_the_url() -> None:
    url, track = Problem("actions[0].stream_url", "", ""), Problem("actions[0].track", "", "")
    assert code_of_answer([url]) == "MV-201"
    assert code_of_answer([url, track]) == "MV-103"


async def test_every_line_of_trouble_has_a_code_in_the_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    config = settings(tmp_path, timeouts=patient(), webhook_secret="a secret of ours", record=True)
    async with open_lab(App(), config) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.frame(0)
            await caller.frame(1000)
            await caller.socket.send("what is this?")
            await caller.socket.send(b"nor this")
            await caller.socket.abort()
        for method, path in (("PUT", "/answer"), ("GET", "/stream/x"), ("GET", "/nowhere")):
            await lab.request(method, path)
        await lab.deliver(webhook())
        await lab.deliver(b"{", secret="a secret of ours")
        lines = [
            line for log in ("answers", "streams", "webhooks") for line in await lab.lines(log)
        ]
    troubled = {(line["what"], line.get("code")) for line in lines if line["level"] != "info"}
    assert troubled - {("settings", "MV-207")} == {
        ("refused", "MV-106"),
        ("refused", "MV-309"),
        ("refused", "MV-205"),
        ("refused", "MV-601"),
        ("refused", "MV-605"),
        ("gap", "MV-403"),
        ("unknown", "MV-404"),
        ("disconnected", "MV-501"),
    }
    assert not [line for line in lines if line["level"] == "info" and "code" in line]


async def test_a_jump_of_the_platforms_clock_is_in_the_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path, timeouts=patient())) as lab:
        async with lab.stream() as caller:
            await caller.start()
            await caller.frame(0)
            await caller.frame(50 * 3601)
            await caller.frame(50 * 3601 + 1)
            await caller.stop()
            await caller.close_code()
        (jump,) = await lab.lines("streams", "jump")
        (account,) = await lab.lines("streams", "account")
    assert jump["code"] == "MV-406" and jump["track"] == "inbound"
    assert (jump["position"], jump["placed_at"]) == (8000 * 3601, 160)
    assert account["tracks"]["inbound"]["jumps"] == 1 and account["tracks"]["inbound"]["lost"] == 0


async def test_the_wire_is_what_the_settings_say(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    changes = {
        "dialect": "freeswitch",
        "one_channel": "outbound",
        "fallback_format": "mulaw/8000/1",
    }
    async with open_lab(App(), settings(tmp_path, timeouts=patient(), **changes)) as lab:
        async with lab.stream() as caller:
            for _ in range(100):
                await caller.socket.send(bytes(160))
        (started,) = await lab.lines("streams", "started")
    assert started["dialect"] == "freeswitch" and started["tracks"] == ["outbound"]
    assert started["format"] == "mulaw/8000/1" and started["code"] == "MV-405"


async def test_a_subprotocol_that_a_dialect_needs_is_selected(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    from minivoice_ref.config import Limits, Timeouts
    from minivoice_ref.net.websocket import open_connected

    async with open_lab(App(), settings(tmp_path, timeouts=patient())) as lab:
        async with open_connected(
            await lab.stream_url(),
            connect=lab.network.connect,
            subprotocols=["chat", "audio.jambonz.org"],
            limits=Limits(),
            timeouts=Timeouts(),
        ) as socket:
            assert socket.subprotocol == "audio.jambonz.org"
        (opened,) = await lab.lines("streams", "open")
    assert opened["subprotocol"] == "audio.jambonz.org"


async def test_webhooks_come_by_the_method_of_the_settings(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path, webhook_method="PUT")) as lab:
        assert (await lab.request("POST", "/webhooks", webhook())).status == 405
        assert (await lab.request("PUT", "/webhooks", webhook())).status == 200


async def test_a_handled_webhook_is_forgotten_after_its_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path, webhook_memory=3000.0)) as lab:
        for wait, known in ((1.0, True), (7300.0, False)):
            first = json.loads((await lab.deliver(webhook())).body)
            assert first["duplicate"] is False
            await trio.sleep(wait)
            again = json.loads((await lab.deliver(webhook())).body)
            assert again["duplicate"] is known
            await trio.sleep(7300.0)
    assert wall_clock() > 0
