"""What the examples stand on: a receiver and test calls at it, in one block."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from minivoice_ref import Answer, AnswerRequest, App, ConfigError, say
from minivoice_ref.rehearsal import open_rehearsal
from minivoice_ref.simulator.report import Moment


async def say_hello(request: AnswerRequest) -> Answer:
    await trio.lowlevel.checkpoint()
    return Answer(say(f"Hello, {request.fields['variables']}"))


async def test_a_block_has_a_receiver_and_calls_as_planned_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    moments: list[Moment] = []
    settings = {"webhook_secret": "the-secret-of-this-test", "data": tmp_path / "kept"}
    async with open_rehearsal(App(say_hello), **settings) as rehearsal:
        assert rehearsal.server.urls.answer.startswith("https://127.0.0.1:")
        assert "the-secret" not in repr(rehearsal)
        report = await rehearsal.call(
            variables={"name": "Ada"}, speak=0.1, speech_programs=(), observe=moments.append
        )
        assert report.passed, str(report)
        assert report.actions[0].type == "say" and not report.streams
        with pytest.raises(ConfigError, match="speak"):
            await rehearsal.call(speak=0)
    assert "Ada" in " ".join(moment.text for moment in moments)
    assert (tmp_path / "kept" / "webhooks.jsonl").stat().st_size > 0
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", int(rehearsal.server.urls.base.split(":")[-1]))
