"""live_monitor.py: who speaks, told by where the audio belongs."""

from __future__ import annotations

import importlib.resources
import math
import re
import struct
from pathlib import Path

import pytest
from examples_lab import load, run

from minivoice_ref import Frame, MediaFormat
from minivoice_ref.protocol.media import Track
from minivoice_ref.simulator.speech import packaged_voice

live_monitor = load("live_monitor")
MULAW = MediaFormat()
PCM = MediaFormat("l16le")
TONE = struct.pack("<160h", *(int(6000 * math.sin(n / 3)) for n in range(160)))
QUIET = bytes(320)


def frame(track: Track, slot: int, pcm: bytes) -> Frame:
    return Frame(track, 160 * slot, pcm, PCM)


@pytest.mark.documents("use-live-monitoring")
def test_it_runs_and_says_at_the_end_who_talked_how_much(tmp_path: Path) -> None:
    told = run("live_monitor.py", "3", cwd=tmp_path)
    block = told.partition(" is over\n")[2].splitlines()
    assert re.fullmatch(r"caller +-[\d.]+ dBFS .* talks 0\.0 s +\d+%", block[0]), told
    assert re.fullmatch(r"agent +-[\d.]+ dBFS .* talks 2\.\d s +\d+%", block[1]), told
    assert re.search(r"of [23]\.\d s: talk-over 0\.0 s, silence [01]\.\d s", block[2]), told
    assert told.count("dBFS") >= 6, "it was drawn while the call went on"


def test_the_talk_time_of_the_packaged_conversation_is_that_of_its_words() -> None:
    conversation = live_monitor.Conversation(["inbound", "outbound"])
    caller, agent = packaged_voice("caller"), packaged_voice("agent")
    for slot in range(len(caller.frames)):
        conversation.add(Frame("inbound", 160 * slot, caller.frame(slot), MULAW))
        conversation.add(Frame("outbound", 160 * slot, agent.frame(slot), MULAW))
    conversation.finish()
    spoken = {"caller": 0.0, "agent": 0.0}
    words = importlib.resources.files("minivoice_ref.simulator") / "voices" / "words.txt"
    for line in words.read_text("utf-8").splitlines():
        begin, end, who, _ = line.split("\t")
        spoken[who] += float(end) - float(begin)
    talked = {track: party.talked / 50 for track, party in conversation.parties.items()}
    assert talked["inbound"] == pytest.approx(spoken["caller"], abs=0.6)
    assert talked["outbound"] == pytest.approx(spoken["agent"], abs=0.6)
    assert conversation.judged == 1050 and conversation.talk_over == 0
    assert conversation.silence / 50 == pytest.approx(21 - sum(talked.values()), abs=0.05)


def test_both_at_once_is_talk_over_whatever_order_the_audio_came_in() -> None:
    conversation = live_monitor.Conversation(["inbound", "outbound"])
    for slot in range(80):  # the caller's burst comes first
        conversation.add(frame("inbound", slot, TONE))
    for slot in range(100):
        conversation.add(frame("outbound", slot, TONE if slot >= 50 else QUIET))
    conversation.finish()
    assert (conversation.talk_over, conversation.silence) == (30, 0)
    assert [party.talked for party in conversation.parties.values()] == [80, 50]


def test_a_short_pause_is_speech_and_a_long_one_is_silence() -> None:
    conversation = live_monitor.Conversation(["inbound"])
    speech = [1] * 10 + [0] * 14 + [1] * 10 + [0] * 15 + [1] * 5 + [0] * 30
    for slot, loud in enumerate(speech):
        conversation.add(frame("inbound", slot, TONE if loud else QUIET))
    conversation.finish()
    assert conversation.parties["inbound"].talked == 39
    assert conversation.silence == 45
    assert "silence 0.9 s (now 0.6 s)" in conversation.lines()[-1]


def test_a_party_that_falls_silent_on_the_wire_holds_up_the_count_for_two_seconds() -> None:
    conversation = live_monitor.Conversation(["inbound", "outbound"])
    conversation.add(frame("outbound", 0, TONE))
    for slot in range(200):
        conversation.add(frame("inbound", slot, TONE))
    assert conversation.judged == 200 - live_monitor.PATIENCE - live_monitor.PAUSE
    before = conversation.talk_over
    conversation.add(frame("outbound", 3, TONE))  # judged already
    assert conversation.talk_over == before == 1
    assert len(conversation.parties["inbound"].speech) == 115


def test_a_long_frame_is_cut_into_slots() -> None:
    conversation = live_monitor.Conversation([])
    conversation.add(frame("mixed", 0, TONE * 2 + QUIET * 18))
    conversation.finish()
    assert (conversation.parties["mixed"].talked, conversation.silence) == (2, 18)


def test_a_late_piece_goes_where_it_belongs() -> None:
    conversation = live_monitor.Conversation([])
    for slot in (0, 1, 3, 4, 2):
        conversation.add(frame("inbound", slot, TONE))
    conversation.finish()
    assert (conversation.parties["inbound"].talked, conversation.silence) == (5, 0)


async def test_on_a_terminal_it_draws_over_what_it_drew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = live_monitor.Monitor()
    await monitor._show(["one", "two"], keep=False)
    await monitor._show(["three"], keep=True)
    await monitor._show([], keep=False)
    assert capsys.readouterr().out == "one\ntwo\n\x1b[2A\x1b[Jthree\n"
