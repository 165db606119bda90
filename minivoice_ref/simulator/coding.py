"""What a stream says of the call's audio: in which tracks, in which format, how much at a time.

A call is heard in mu-law, 160 samples a tick (`speech.py`). A dialect may want something else: one
track in which both parties speak, 16-bit samples, another sample rate, more in one message. All of
that is settled here, so that `sender.py` only knows when to send.

The usual case, a frame of mu-law as it is, costs a lookup: a voice's frames are always the same
ones, so each is brought into its form on the wire once, for all streams of the program. The same
goes for a frame in another format.

It must not know clocks or sockets. Read next: `sender.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from minivoice_ref.protocol.audio import decode_mulaw, from_pcm, mix_down, resample
from minivoice_ref.protocol.dialects.base import Encoder, WirePayload
from minivoice_ref.protocol.dialects.binary_family import interleave
from minivoice_ref.protocol.dialects.detect import encoder_named
from minivoice_ref.protocol.media import MediaFormat, Track, WireMessage
from minivoice_ref.simulator.report import Sums
from minivoice_ref.simulator.speech import FRAME_SAMPLES, SAMPLE_RATE, TICK, CallAudio, CallTrack

__all__ = ["TICK_MS", "StreamCoder", "tracks_of"]

_TRACKS: Mapping[str, tuple[CallTrack, ...]] = {
    "inbound": ("inbound",),
    "outbound": ("outbound",),
    "both": ("inbound", "outbound"),
}
TICK_MS = round(TICK * 1000)
"""Milliseconds of a tick."""

_PLAIN = MediaFormat("mulaw", SAMPLE_RATE, 1)
_BESIDE = 40  # samples at 8 kHz on each side of a frame: more than the 24 that resampling looks at
_MOST_PREPARED = 8192

_Heard: TypeAlias = tuple[bytes, ...]
"""The frames from which one tick of a track is made: one or two, or one in its surroundings."""

_prepared: dict[type[Encoder], dict[bytes, WirePayload]] = {}
"""Frames as they stand in messages, by the dialect: a voice is coded once for all who stream it.

At most `_MOST_PREPARED` of each dialect, 3 MB or so of mu-law and 40 MB at 64 kHz; when it is full,
it is emptied and fills anew.
"""

_coded: dict[MediaFormat, dict[_Heard, bytes]] = {}
"""Frames in other formats, each by what it is made from; bounded as `_prepared` is, as large."""


def tracks_of(track: str) -> tuple[CallTrack, ...]:
    """The tracks of the call that a stream with the parameter *track* carries."""
    return _TRACKS[track]


class StreamCoder:
    """The audio of one stream as its dialect writes it, and the `encoder` that it is for.

    `tracks` are those of the stream, `format` is that of each; a message holds `ticks` of them.
    """

    def __init__(
        self,
        dialect: str,
        wanted: tuple[CallTrack, ...],
        audio: CallAudio,
        format: MediaFormat | None = None,
    ) -> None:
        """Code what *audio* carries on the tracks *wanted*, for a stream of *dialect*.

        *format* is one of those that its encoder has in `formats`; None is the usual one.
        """
        self.encoder = encoder_named(dialect)
        self.tracks = self.encoder.tracks_for(wanted)
        self.format = format or self.encoder.formats[0]
        self.ticks = round(self.encoder.frame_seconds / TICK)
        self._wanted = wanted
        self._audio = audio
        self._plain = self.format == _PLAIN and self.tracks == wanted and self.ticks == 1
        self._prepared = _prepared.setdefault(type(self.encoder), {})

    def carries(self, track: CallTrack) -> bool:
        """Whether the call's *track* is heard on the stream, mixed or not."""
        return track in self._wanted

    def speak(self, track: Track, tick: int, ticks: int) -> tuple[bytes, WirePayload]:
        """What *track* carries in *ticks* ticks from *tick* on: the audio, and as it is sent.

        Asking for what is past, as whoever gathers several does, is good: it stays as it was.
        """
        if self._plain and track != "mixed":
            payload = self._audio.frame(track, tick)
        elif ticks == 1:
            payload = self._frame(track, tick)
        else:
            payload = b"".join([self._frame(track, tick + n) for n in range(ticks)])
            return payload, self.encoder.prepare(payload)
        prepared = self._prepared.get(payload)  # bytes remember their hash
        if prepared is None:
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared.clear()
            prepared = self._prepared[payload] = self.encoder.prepare(payload)
        return payload, prepared

    def sums(self, size: int) -> Sums:
        """How much *size* bytes of one track are; only the last message may be short of full."""
        samples = self.format.samples(size)
        full = round(self.encoder.frame_seconds * self.format.sample_rate)
        return Sums(-(-samples // full), samples)

    def rest(self) -> list[WireMessage]:
        """End the stream where its dialect has no message for that: the audio still held back."""
        return [] if self.encoder.has_stop else self.encoder.stop()

    def stop(self) -> list[WireMessage]:
        """Say that the stream is over, where the dialect has a message for that."""
        return self.encoder.stop() if self.encoder.has_stop else []

    def _frame(self, track: Track, tick: int) -> bytes:
        """One tick of *track* in the stream's format."""
        sources = self._wanted if track == "mixed" else (track,)
        heard = tuple([part for source in sources for part in self._heard(source, tick)])
        if self.format == _PLAIN and len(heard) == 1:
            return heard[0]
        store = _coded.setdefault(self.format, {})
        coded = store.get(heard)
        if coded is None:
            if len(store) >= _MOST_PREPARED:
                store.clear()
            coded = store[heard] = self._code(heard, len(sources))
        return coded

    def _heard(self, track: CallTrack, tick: int) -> _Heard:
        """The frame of *track*; where it must be resampled, between its neighbours."""
        if self.format.sample_rate == SAMPLE_RATE:
            return (self._audio.frame(track, tick),)
        return self._audio.surrounded(track, tick)

    def _code(self, heard: _Heard, sources: int) -> bytes:
        """One tick in the stream's format, of as many *sources*: their mean."""
        size = len(heard) // sources
        parts = [heard[at : at + size] for at in range(0, len(heard), size)]
        sounds = [decode_mulaw(one[0]) if size == 1 else self._resampled(one) for one in parts]
        pcm = sounds[0] if sources == 1 else mix_down(interleave(sounds, 2), sources)
        return from_pcm(pcm, self.format)

    def _resampled(self, surrounded: _Heard) -> bytes:
        """The middle one of three frames, resampled as if all of the voice were: no seams."""
        before, frame, after = surrounded
        rate = self.format.sample_rate
        pcm = resample(decode_mulaw(before[-_BESIDE:] + frame + after[:_BESIDE]), SAMPLE_RATE, rate)
        return pcm[2 * rate * _BESIDE // SAMPLE_RATE :][: 2 * rate * FRAME_SAMPLES // SAMPLE_RATE]
