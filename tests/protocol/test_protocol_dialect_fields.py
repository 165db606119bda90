"""The values that the JSON dialects share: numbers, and the names of codecs."""

from __future__ import annotations

import pytest

from minivoice_ref.protocol.dialects.fields import number
from minivoice_ref.protocol.dialects.formats import read_format
from minivoice_ref.protocol.media import MediaFormat

EXACT = 2**53


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("form", [int, str])
def test_a_number_is_as_large_as_json_carries_exactly_and_no_larger(
    form: type[int] | type[str], sign: int
) -> None:
    faults: list[str] = []
    assert number({"n": form(sign * EXACT)}, "n", faults) == sign * EXACT and not faults
    assert number({"n": form(sign * (EXACT + 1))}, "n", faults) is None
    assert faults == ["n is beyond all measure"]


@pytest.mark.parametrize(
    ("codec", "names"),
    {
        "mulaw": ("audio/x-mulaw", "mulaw", "ulaw", "PCMU", "audio/PCMU", "g711_ulaw", "G.711u"),
        "alaw": ("audio/x-alaw", "alaw", "PCMA", "g711_alaw", "G.711a"),
        "l16be": ("audio/x-L16", "audio/l16", "L16", "l16be"),
        "l16le": ("l16le", "audio/x-raw", "pcm", "pcm16"),
    }.items(),
)
def test_a_codec_is_known_by_every_name_that_the_field_has_for_it(
    codec: str, names: tuple[str, ...]
) -> None:
    fallback = MediaFormat("l16le", 16000, 1)
    for name in names:
        named = read_format(name, {"rate": 8000}, "rate", l16="l16be", fallback=fallback)
        assert (named.format.encoding, named.faults) == (codec, ()), name
