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
    layout,
    mix_type,
)
from minivoice_ref.protocol.dialects.fields import Misread, as_json, media_format, number, text
from minivoice_ref.protocol.media import Started, StreamEvent, Unknown, WireMessage

__all__ = ["FreeSwitchDialect", "FreeSwitchEncoder"]

_EVENT_KEYS = ("event", "eventType", "type", "command")
_RATES = ("sampleRate", "sample_rate", "rate")
_MIXES = ("mixType", "mix_type", "mixtype")
_MIX_OF_CHANNELS = {1: None, 2: "stereo"}


class FreeSwitchEncoder(StereoEncoder):
    """Writes metadata that names the call and what a receiver must know of the audio."""

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
        faults: list[StreamEvent] = []
        named = False
        try:
            named = self._read_layout(document)
        except Misread as exc:
            faults.append(Unknown(message, f"metadata: {exc}; {self._wire} is assumed"))
        started = Started(
            dialect=self.name,
            format=self._format,
            tracks=self._tracks,
            call_id=call_id_of(document),
            extra=document,
            assumed=not named,
        )
        return [started, *faults]

    def _read_layout(self, document: Mapping[str, object]) -> bool:
        """Take the audio's form from metadata; whether it names the rate."""
        rates = (number(document, name) for name in _RATES)
        rate = next((rate for rate in rates if rate is not None), None)
        mixes = (text(document, name) for name in _MIXES)
        mix = next((mix for mix in mixes if mix is not None), None)
        mix = mix or _MIX_OF_CHANNELS.get(number(document, "channels") or 0)
        tracks = self._tracks if mix is None else layout(mix)
        format = self._format if rate is None else media_format("l16le", rate, "l16le")
        self._carry(format, tracks)
        return rate is not None
