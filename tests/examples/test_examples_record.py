"""record_everything.py: each recording can be found by who called whom."""

from __future__ import annotations

import json
import sqlite3
import wave
from contextlib import closing
from pathlib import Path

from examples_lab import load, run

from minivoice_ref.protocol.webhooks import CallEvent, read_event


def test_everything_of_a_call_is_kept_and_listed(tmp_path: Path) -> None:
    listed = run("record_everything.py", "kept", cwd=tmp_path).splitlines()[-1]
    assert "+15551230001 -> +15551230002" in listed
    assert "0 samples lost, 0 not recorded  completed" in listed
    with wave.open(str(tmp_path / listed.split()[-1])) as recording:
        assert recording.getnchannels() == 2
        assert 1.7 < recording.getnframes() / recording.getframerate() < 2.3
    (capture,) = (tmp_path / "kept" / "captures").iterdir()
    assert capture.stat().st_size > 0


def event_of_a_call() -> CallEvent:
    return read_event(b"""{"event": "call.completed", "created_at": "2026-05-29T12:10:00Z",
        "call": {"id": "call_1", "from": "+1", "to": "+2"}}""")


async def test_an_event_that_comes_twice_stands_in_the_register_once(tmp_path: Path) -> None:
    register = load("record_everything").Register(tmp_path)
    for _ in range(2):
        await register.keep(event_of_a_call())
    (tmp_path / "recordings").mkdir()
    sums = {"samples": 8000, "sample_rate": 8000, "not_recorded": 0, "tracks": {}}
    for name, call in (("a", "call_1"), ("b", "call_of_nobody")):
        document = json.dumps({"call_id": call, **sums})
        (tmp_path / "recordings" / f"{name}.json").write_text(document)
    known, unknown = register.list_recordings()
    assert known.startswith("2026-05-29T12:10:00+00:00  +1 -> +2    1.0 s")
    assert unknown.startswith("None  None -> None    1.0 s") and "not completed" in unknown
    with closing(sqlite3.connect(tmp_path / "register.sqlite3")) as database:
        assert database.execute("select count(*) from events").fetchone() == (1,)
