"""`minivoice-ref explain`: from the files of a data folder, as they may be found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minivoice_ref.cli import main
from minivoice_ref.commands import explain


def write(folder: Path, log: str, *lines: dict[str, object], torn: str = "") -> None:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps({"log": log, "level": "info", **line}) + "\n" for line in lines)
    (folder / f"{log}.jsonl").write_text(text + torn)


def at(second: int, what: str, **fields: object) -> dict[str, object]:
    return {"time": f"2026-05-29T12:10:{second:02}.000000Z", "what": what, "call_id": "c", **fields}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The logs of a good call `c`, and before it of a call `b` whose answer came too late."""
    action = {"type": "start_stream", "stream_url": "wss://h/stream/abc…", "track": "inbound"}
    late = at(1, "late", code="MV-101", allowed=5.0) | {"call_id": "b"}
    write(tmp_path, "answers", late, at(40, "answered", actions=[action], seconds=0.1))
    sums = {"inbound": {"frames": 50, "seconds": 1.0, "lost": 0}}
    write(
        tmp_path,
        "streams",
        at(41, "open", stream_id="s", peer="192.0.2.1:7"),
        at(43, "disconnected", stream_id="s", how="stopped", by="platform", close_code=1000),
        at(43, "account", stream_id="s", tracks=sums),
        torn='{"time": "2026-05-29T12:1',
    )
    done = at(44, "accepted", event="call.completed", created_at="2026-05-29T12:10:43Z")
    write(tmp_path, "webhooks", done, torn="Killed\n")
    return tmp_path


def test_the_last_call_is_explained_for_people(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--data", str(data)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("call c: pass\n") and "inbound 1.0 s in 50 pieces" in printed
    assert "2 lines of the logs are torn or not ours" in printed


def test_a_named_call_that_failed_says_what_it_means_and_what_to_do(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "b", "--data", str(data)]) == 1
    printed = capsys.readouterr().out
    assert "MV-101 on_answer did not decide in time at 2026-05-29T12:10:01" in printed
    assert "means: It took longer" in printed and "do:    Look nothing up" in printed


def test_as_json_each_step_has_its_findings(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "b", "--data", str(data), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["call"] == "b" and document["verdict"] == "fail"
    assert document["lines_left_out"] == 2
    step = document["steps"][0]
    assert (step["name"], step["ok"]) == ("answer_valid", False)
    (finding,) = step["findings"]
    assert finding["code"] == "MV-101" and finding["cause"] and finding["mend"]
    assert finding["said"] == "allowed=5.0" and finding["remark"] is False


def test_the_tolerance_of_the_clocks_is_an_option(data: Path) -> None:
    assert main(["explain", "--data", str(data), "--clock-tolerance", "0.5"]) == 1


def test_logs_without_a_fault_in_their_lines_leave_no_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "answers", at(1, "answered", actions=[]))
    assert main(["explain", "--data", str(tmp_path)]) == 1
    assert "note:" not in capsys.readouterr().out


def test_the_folder_is_the_receivers_unless_it_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINIVOICE_DATA", str(data))
    # The receiver's other settings are none of ours, whatever they are worth here.
    monkeypatch.setenv("MINIVOICE_TLS_CERT", "/nowhere/cert.pem")
    monkeypatch.setenv("MINIVOICE_TOKEN_KEY_FILE", "/for/its/eyes/only")
    monkeypatch.setenv("MINIVOICE_TIMEOUTS_SILENCE", "long")
    assert main(["explain", "--json"]) == 0


def test_of_a_huge_log_the_end_is_read(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(explain, "_MOST_BYTES", 300)
    assert main(["explain", "b", "--data", str(data)]) == 2
    assert "the last: c" in capsys.readouterr().err


def test_nothing_to_explain_is_bad_usage(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--data", str(tmp_path / "empty")]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["explain", "z", "--data", str(data)]) == 2
    assert "of z; the last: b, c" in capsys.readouterr().err


def test_logs_without_ids_know_no_call_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "streams", at(1, "refused") | {"call_id": None})
    (tmp_path / "streams.jsonl").write_text(
        (tmp_path / "streams.jsonl").read_text().replace('"call_id": null', '"status": 403')
    )
    assert main(["explain", "z", "--data", str(tmp_path)]) == 2
    assert "none that has an id" in capsys.readouterr().err


def test_a_log_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "streams.jsonl").mkdir()
    assert main(["explain", "--data", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err
