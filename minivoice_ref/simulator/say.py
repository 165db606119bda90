"""The words of a `say`, spoken: by a program of this machine where there is one.

`flite` and `espeak-ng` are known; which of them are installed is found out when a text is to be
said. The text goes in, a WAV file comes out. Whatever goes wrong with a program is a remark in the
call's timeline, and the next one is tried; without any, the packaged voice says something that
takes as long.

A text that was said before is taken from a store, so that a thousand calls start one program. It
must not know calls beyond their plan and their remarks. Read next: `live.py`, which speaks.
"""

from __future__ import annotations

import shutil

import trio

from minivoice_ref.protocol.redaction import excerpt
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.speech import SPEECH_PROGRAMS, SpeechError, Voice, read_voice
from minivoice_ref.simulator.wav import BadWav

__all__ = ["spoken"]

_MOST_STORED = 64
_stored: dict[tuple[str, str], Voice] = {}
"""What was said, by program and text: at most `_MOST_STORED`; when full, it is emptied."""

_AT_ONCE = trio.CapacityLimiter(2)
_THREADS = trio.CapacityLimiter(1)


async def spoken(text: str, context: CallContext) -> Voice | None:
    """The words of *text*; None where no program of the plan's `speech_programs` could say them.

    Takes at most `timeouts.speech` seconds of the call, waiting for other calls' texts included. If
    cancelled, the program is ended.
    """
    late = context.plan.timeouts.speech
    with trio.move_on_after(late) as patience:
        for name in context.plan.speech_programs:
            path = await trio.to_thread.run_sync(shutil.which, name, limiter=_THREADS)
            if path is not None:
                try:
                    return await _say(path, name, text)
                except (OSError, SpeechError, BadWav) as exc:
                    context.note("platform", f"{name} did not say it: {exc}")
        await trio.lowlevel.checkpoint()
    if patience.cancelled_caught:
        context.note("platform", f"the text was not said within {late:g} s")
    return None


async def _say(path: str, name: str, text: str) -> Voice:
    """Have the program at *path* say *text*. Raises OSError, SpeechError or BadWav."""
    text = text.replace("\0", " ").encode("utf-8", "replace").decode()  # as a program can take it
    stored = _stored.get((path, text))
    if stored is not None:
        await trio.lowlevel.checkpoint()
        return stored
    async with _AT_ONCE:
        done = await trio.run_process(
            [path, *(text if part == "TEXT" else part for part in SPEECH_PROGRAMS[name])],
            stdin=text.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    if done.returncode != 0:
        said = excerpt((done.stderr or b"").decode("utf-8", "replace").strip(), 200)
        raise SpeechError(f"it ended with {done.returncode}" + (f": {said}" if said else ""))
    voice = await trio.to_thread.run_sync(read_voice, done.stdout, name, limiter=_THREADS)
    if len(_stored) >= _MOST_STORED:
        _stored.clear()
    _stored[path, text] = voice
    return voice
