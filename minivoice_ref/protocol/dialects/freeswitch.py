"""The audio-stream modules of FreeSWITCH: free-form metadata, perhaps, then 16-bit audio.

The first text message is whatever the caller of the module passed: JSON or any text. It is no start
that could be told from anything else, so it waits for the first audio and becomes the stream's
`Started` with it. Where it happens to name a rate and a mix type, in the usual words, those count;
else the format is that of the settings. The audio is little-endian, 8 or 16 kHz, mono, mixed, or
stereo interleaved, any multiple of 20 ms a message. There is no stop: the socket closes.

Read next: `jambonz.py`, whose metadata can be told.
"""

from __future__ import annotations

from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import DialectSettings, Sign
from minivoice_ref.protocol.dialects.binary_family import (
    BinaryDialect,
    StereoEncoder,
    call_id_of,
    l16le,
    layout,
    mix_type,
)
from minivoice_ref.protocol.dialects.fields import Misread, as_json, faulted, text
from minivoice_ref.protocol.dialects.formats import read_format
from minivoice_ref.protocol.media import Started, StreamEvent, Track, Unknown, WireMessage

__all__ = ["FreeSwitchDialect", "FreeSwitchEncoder"]

_EVENT_KEYS = ("event", "eventType", "type", "command")
_RATES = ("sampleRate", "sample_rate", "rate")
_MIXES = ("mixType", "mix_type", "mixtype")


class FreeSwitchEncoder(StereoEncoder):
    """Writes metadata that names the call and what a receiver must know of the audio."""

    formats = l16le(8000, 16000)

    def _start(self, started: Started) -> list[WireMessage]:
        self._need_layout(started)
        metadata = {
            **started.custom,
            "uuid": started.call_id or "",
            "sampleRate": started.format.sample_rate,
            "mixType": mix_type(started.tracks),
        }
        return [as_json(metadata)]


class FreeSwitchDialect(BinaryDialect, name="freeswitch"):
    """Reads audio, and the metadata before it."""

    encoder = FreeSwitchEncoder
    has_start = False

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._metadata: tuple[WireMessage, Mapping[str, object] | None] | None = None
        self._begun = False

    @classmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Any text may be metadata, if it does not look like somebody's event."""
        if document is None:
            return Sign.POSSIBLE if message else Sign.NONE
        return Sign.NONE if any(key in document for key in _EVENT_KEYS) else Sign.POSSIBLE

    def flush(self) -> list[StreamEvent]:
        """Hand on metadata that no audio came after."""
        if self._metadata is None:
            return []
        message, self._metadata = self._metadata[0], None
        return [Unknown(message, "metadata, and no audio after it")]

    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        if self._begun or not message:
            return [Unknown(message, "text that is not the stream's metadata")]
        self._begun, self._metadata = True, (message, document)
        return []

    def _audio(self, message: bytes) -> list[StreamEvent]:
        if not message or self._metadata is None:
            self._begun = self._begun or bool(message)
            return super()._audio(message)
        (text_message, document), self._metadata = self._metadata, None
        if document is None:
            started = Started(
                self.name,
                self._format,
                self._tracks,
                extra={"metadata": text_message},
                assumed=True,
            )
            return [started, *super()._audio(message)]
        return [*self._start(text_message, document), *super()._audio(message)]

    def _start(self, message: WireMessage, document: Mapping[str, object]) -> list[StreamEvent]:
        """The start that metadata makes; what it names wrongly is as if it were not named."""
        rate = next((name for name in _RATES if document.get(name) is not None), "")
        fallback = self.settings.mono
        named = read_format("L16", document, rate, l16="l16le", fallback=fallback)
        format = named.format if rate else fallback
        faults, tracks = list(named.faults) if rate else [], self._tracks
        try:
            tracks = self._layout_of(document) or tracks
        except Misread as exc:
            faults += [str(exc), f"{' and '.join(tracks)} is assumed"]
        self._carry(format, tracks)
        started = Started(
            dialect=self.name,
            format=format,
            tracks=tracks,
            call_id=call_id_of(document),
            extra=document,
            assumed=bool(faults) or not rate,
        )
        return [started, *faulted(message, "metadata", faults)]

    def _layout_of(self, document: Mapping[str, object]) -> tuple[Track, ...] | None:
        """The tracks that metadata names, by a mix type or a number of channels."""
        mixes = (text(document, name) for name in _MIXES)
        mix = next((mix for mix in mixes if mix is not None), None)
        if mix is None and text(document, "channels") == "2":
            mix = "stereo"
        return None if mix is None else layout(mix)
