"""What a dialect makes of the call's audio: tracks, formats, messages of several ticks."""

from __future__ import annotations

import pytest

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.audio import decode_mulaw, mix_down, resample
from minivoice_ref.protocol.dialects.binary_family import interleave
from minivoice_ref.protocol.dialects.detect import encoders
from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.simulator import coding
from minivoice_ref.simulator.coding import StreamCoder, tracks_of
from minivoice_ref.simulator.plan import CallPlan
from minivoice_ref.simulator.report import Sums
from minivoice_ref.simulator.speech import SILENCE, CallAudio, CallTrack, Voice, packaged_voice

BOTH = tracks_of("both")
FORMS = [(name, format) for name, encoder in encoders().items() for format in encoder.formats]


def conversation() -> CallAudio:
    caller, agent = packaged_voice("caller"), packaged_voice("agent")
    return CallAudio(caller.without_pauses(10), agent.without_pauses(10))


def heard(audio: CallAudio, track: CallTrack, ticks: range) -> bytes:
    """What a track carries, as PCM of 8000 samples a second."""
    return decode_mulaw(b"".join(audio.frame(track, tick) for tick in ticks))


def test_a_frame_of_mulaw_is_taken_as_it_is() -> None:
    audio = conversation()
    payload, prepared = StreamCoder("twilio", BOTH, audio).speak("inbound", 3, 1)
    assert payload is audio.frame("inbound", 3) and isinstance(prepared, str)


def test_several_ticks_of_both_parties_become_one_message_of_their_mean() -> None:
    audio = conversation()
    coder = StreamCoder("exotel", BOTH, audio)
    assert (coder.tracks, coder.ticks) == (("mixed",), 5)
    payload, _ = coder.speak("mixed", 0, 5)
    sounds = [heard(audio, track, range(5)) for track in BOTH]
    assert payload == mix_down(interleave(sounds, 2), 2) and any(payload)


def test_frame_by_frame_a_voice_is_resampled_without_seams() -> None:
    audio = conversation()
    coder = StreamCoder("wavix", BOTH, audio)
    pieces = [coder.speak("inbound", tick, 1)[0] for tick in range(10, 20)]
    whole = resample(heard(audio, "inbound", range(30)), 8000, 24000)
    assert b"".join(pieces) == whole[len(whole) // 3 : 2 * len(whole) // 3]


def test_silence_stays_silence_and_a_tone_is_heard_at_another_rate_too() -> None:
    audio = conversation()
    coder = StreamCoder("wavix", BOTH, audio)
    audio.silence(["outbound"], 0)
    tone = Voice("tone", (bytes([0x10, 0x90] * 80),) * 2)
    audio.cover("inbound", tone, 1)
    assert coder.speak("outbound", 0, 1)[0] == bytes(960)
    assert audio.surrounded("inbound", 1) == (tone.frames[1], tone.frames[0], tone.frames[1])
    assert audio.surrounded("outbound", 1) == (SILENCE, SILENCE, SILENCE)


def test_asking_for_the_neighbours_of_a_frame_settles_nothing_about_them() -> None:
    audio = conversation()
    StreamCoder("wavix", BOTH, audio).speak("inbound", 0, 1)
    audio.silence(["inbound"], 1)
    assert audio.frame("inbound", 0) != SILENCE and audio.frame("inbound", 1) == SILENCE


def test_only_the_last_message_may_be_short() -> None:
    coder = StreamCoder("exotel", BOTH, conversation())
    assert [coder.sums(size) for size in (0, 1600, 1920)] == [
        Sums(0, 0),
        Sums(1, 800),
        Sums(2, 960),
    ]


def test_a_mixed_stream_carries_the_keys_of_whoever_is_in_it() -> None:
    mixed = StreamCoder("vonage", ("outbound",), conversation())
    assert mixed.carries("outbound") and not mixed.carries("inbound")


def test_what_is_held_back_for_the_other_track_is_the_rest_of_a_stream_without_a_stop() -> None:
    coder = StreamCoder("twilio", BOTH, conversation())
    assert coder.rest() == [] and coder.encoder.has_stop


def test_the_store_of_frames_in_other_formats_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "_coded", {})
    monkeypatch.setattr(coding, "_prepared", {})
    monkeypatch.setattr(coding, "_MOST_PREPARED", 4)
    coder = StreamCoder("vonage", ("inbound",), conversation())
    sounds = {coder.speak("mixed", tick, 1)[0] for tick in range(10)}
    (coded,), (prepared,) = coding._coded.values(), coding._prepared.values()
    assert len(sounds) == 10 and len(coded) <= 4 and len(prepared) <= 4


@pytest.mark.parametrize(("dialect", "format"), FORMS, ids=str)
def test_a_plan_may_ask_for_each_format_that_its_dialect_is_known_to_carry(
    dialect: str, format: MediaFormat
) -> None:
    plan = CallPlan(answer_url="https://a.example.com", dialect=dialect, media_format=format)
    coder = StreamCoder(plan.dialect, BOTH, conversation(), plan.media_format)
    assert coder.format == format
    payload, _ = coder.speak(coder.tracks[0], 5, coder.ticks)
    samples = format.sample_rate // 50 * coder.ticks
    assert format.samples(len(payload)) == samples
    # What is left out is the usual one.
    assert StreamCoder(dialect, BOTH, conversation()).format == coder.encoder.formats[0]


@pytest.mark.parametrize(
    ("dialect", "format", "choice"),
    [
        ("bandwidth", MediaFormat("l16le", 16000), "choose one of: mulaw/8000/1"),
        ("vonage", MediaFormat("mulaw"), "l16le/8000/1, l16le/16000/1, l16le/24000/1"),
        ("signalwire", MediaFormat("l16le", 8000), "mulaw/8000/1, l16le/16000/1, l16le/24000/1"),
        ("jambonz", MediaFormat("l16le", 8000, 2), "l16le/48000/1, l16le/64000/1"),
        ("twilio", MediaFormat("unknown"), "choose one of: mulaw/8000/1"),
    ],
)
def test_a_format_that_the_dialect_does_not_carry_is_refused_with_those_that_it_does(
    dialect: str, format: MediaFormat, choice: str
) -> None:
    with pytest.raises(ConfigError, match=f"{dialect} does not carry {format}; .*{choice}"):
        CallPlan(answer_url="https://a.example.com", dialect=dialect, media_format=format)


@pytest.mark.parametrize("rate", [12000, 16000, 48000, 64000])
def test_at_any_rate_a_voice_is_resampled_without_seams(rate: int) -> None:
    audio = conversation()
    dialect = "asterisk-text" if rate == 12000 else "jambonz"
    coder = StreamCoder(dialect, ("inbound",), audio, MediaFormat("l16le", rate))
    (track,) = coder.tracks
    pieces = [coder.speak(track, tick, 1)[0] for tick in range(10, 20)]
    whole = resample(heard(audio, "inbound", range(30)), 8000, rate)
    assert b"".join(pieces) == whole[len(whole) // 3 : 2 * len(whole) // 3]
