"""python examples/remote_transcription.py redis://HOST[:PORT]: the words, on another machine.

Needs the extras `cluster` and `transcribe` (pip install '.[cluster,transcribe]'), and receivers
that hand their audio on through the same Redis: serve --cluster redis://HOST --publish-media. A
recogniser needs a third of a processor for a call, a receiver about a hundredth; so those who have
more calls than one machine can transcribe let the receivers receive, and start as many copies of
this program, on as many machines, as the calls need.

The copies are a group, and share the streams: each stream is one copy's at a time. A copy takes no
more than its processors can do; what it leaves waits for another, half a minute at most. A copy
that ends (Ctrl-C) leaves its streams to the others at once, one that is killed after a quarter of
a minute, and the successor hears the last REPEAT seconds again, so that the sentence which was
just being understood is not lost. Another group, say of a supervisor's, would get all streams, too.

    receiver ── audio ──> Redis ── audio ──> follow
                                             └─ on_stream      one a stream, as in a receiver
                                                └─ Ear.run     one a track, with its recogniser

The words are understood by live_transcription.py, which cannot tell that it is not in a receiver.
To its lag, which counts from when the audio came here, is added how long the audio had been on its
way: the time that it lay in Redis, by Redis's own clock, so the machines' clocks need not agree.
"""

from __future__ import annotations

import os
import signal
import sys

import trio
from live_transcription import NAMES, Transcription, Words

from minivoice_ref.receiver.follower import FollowedStream, Following, follow

GROUP = "transcription"
REPEAT = 5.0  # seconds of audio that a successor hears again
STREAMS_A_CORE = 2  # both parties of a call take a third of one


class RemoteTranscription:
    """The words of streams that receivers elsewhere have."""

    def __init__(self) -> None:
        self._followed: dict[str, FollowedStream] = {}
        self._transcription = Transcription(self._show)

    async def prepare(self, parties: int) -> None:
        """Load recognisers, so that the first calls need not wait for them."""
        await self._transcription.prepare(parties)

    async def on_stream(self, stream: FollowedStream) -> None:
        """Transcribe one stream to its end, and tell how complete it was."""
        print(f"{stream.call_id}: taken over from {stream.node}", flush=True)
        self._followed[stream.id] = stream
        try:
            await self._transcription.on_stream(stream)
        finally:
            del self._followed[stream.id]
        ended = stream.ended
        if ended is None:
            print(f"{stream.call_id}: it went on elsewhere, or its receiver died", flush=True)
        else:
            lacks = sum(ended.dropped.values())
            print(f"{stream.call_id}: {ended.how}; {lacks} samples were dropped", flush=True)

    def _show(self, words: Words) -> None:
        """Print a line when it is complete."""
        if not words.line.complete:
            return
        stream = self._followed[words.stream_id]
        lag = words.lag + stream.delay
        print(
            f"{stream.call_id}  {words.line.begin:6.1f} s  {NAMES[words.track]:<6}  "
            f"{words.line.text}  (lag {lag:.1f} s, {stream.delay:.2f} s of it on the way)",
            flush=True,
        )


async def main(redis: str) -> None:
    """Follow streams until a signal comes."""
    following = Following(
        cluster=redis,
        cluster_password=os.environ.get("MINIVOICE_CLUSTER_PASSWORD"),
        group=GROUP,
        most=STREAMS_A_CORE * (os.cpu_count() or 1),
        repeat=REPEAT,
    )
    transcription = RemoteTranscription()
    await transcription.prepare(2)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        print(f"following up to {following.most} streams", flush=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, transcription.on_stream, following)
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    trio.run(main, sys.argv[1])
