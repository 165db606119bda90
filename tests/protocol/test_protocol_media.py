"""The events of a stream: what a format and a piece of audio say of themselves."""

import pytest

from minivoice_ref.protocol.media import Encoding, Mark, Media, MediaFormat, Started


@pytest.mark.parametrize(
    ("encoding", "channels", "size"),
    [("mulaw", 1, 1), ("alaw", 1, 1), ("l16le", 1, 2), ("l16be", 1, 2), ("l16le", 2, 4)],
)
def test_a_sample_takes_as_many_bytes_as_its_encoding_and_channels_need(
    encoding: Encoding, channels: int, size: int
) -> None:
    format = MediaFormat(encoding, 8000, channels)
    assert format.bytes_per_sample == size
    assert format.samples(160 * size) == 160


def test_a_format_is_mulaw_at_8000_mono_unless_told_otherwise_and_says_so() -> None:
    assert str(MediaFormat()) == "mulaw/8000/1"
    assert str(MediaFormat("l16be", 16000, 2)) == "l16be/16000/2"


def test_a_duration_is_samples_over_the_sample_rate() -> None:
    assert MediaFormat("l16le", 16000).seconds(320) == 0.02


def test_a_torn_last_sample_is_not_counted_but_seen() -> None:
    torn = Media("inbound", b"\0" * 321, MediaFormat("l16le"))
    whole = Media("inbound", b"\0" * 320, MediaFormat("l16le"))
    assert (torn.samples, torn.torn) == (160, 1)
    assert (whole.samples, whole.torn) == (160, 0)


def test_events_cannot_be_changed_and_carry_no_dictionary() -> None:
    for event, name in ((Media("inbound", b"\xff", MediaFormat()), "payload"), (Mark("a"), "name")):
        with pytest.raises(AttributeError):
            setattr(event, name, b"")
        assert not hasattr(event, "__dict__")


def test_two_starts_do_not_share_their_empty_parameters() -> None:
    one, two = (Started("raw", MediaFormat(), ("mixed",)) for _ in range(2))
    assert one == two
    assert one.custom is not two.custom and one.extra is not two.extra


def test_of_an_unknown_encoding_no_samples_can_be_told() -> None:
    format = MediaFormat("unknown", 48000, 2)
    assert not format.readable and MediaFormat("l16be").readable
    assert (format.samples(960), str(format)) == (0, "unknown/48000/2")
    media = Media("inbound", b"\1\2\3", MediaFormat("unknown"))
    assert media.samples == media.torn == 0
