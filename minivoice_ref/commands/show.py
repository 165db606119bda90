"""What is in a capture? Its messages by kind, its tracks, its gaps, its account, its sound.

  minivoice-ref serve … --capture
  minivoice-ref show minivoice-data/captures/20260529T121000Z_stream_4f1d….jsonl.gz
  minivoice-ref show FILE --wav call.wav

Shows the first message of each kind as it came, how fast and how evenly the audio of each track
arrived, where it has gaps, and whether it sounds like what it is said to be. Where nothing says
what it is, the format is guessed, with the reason, and the account and the WAV follow the guess.
--format and --dialect force another reading, also of audio in a codec that cannot be read here. A
torn capture is read up to the tear."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from minivoice_ref.commands.captures import open_capture
from minivoice_ref.commands.common import UsageError, add_json, print_json
from minivoice_ref.protocol.capture_report import CaptureReport, examine, read_format
from minivoice_ref.protocol.capture_tracks import TrackReport
from minivoice_ref.protocol.dialects.detect import ANY, DIALECTS
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.protocol.redaction import escape
from minivoice_ref.receiver.recording import CHANNELS
from minivoice_ref.receiver.wav import Patch, StereoWav

SUMMARY = "what is in a capture, and what does it sound like?"

_MANY = 100  # pieces of audio that are written together
_WIDTH = 96  # of what is shown verbatim
_GAPS = 10  # that are listed for people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a capture of `serve --capture`")
    parser.add_argument(
        "--wav", type=Path, metavar="OUT.wav", help="write a stereo WAV of it, inbound left"
    )
    parser.add_argument(
        "--format",
        metavar="ENC/RATE/CH",
        help="format where none is named that can be read, as mulaw/8000/1",
    )
    parser.add_argument(
        "--dialect", choices=sorted({*ANY, *DIALECTS}), help="read it as this wire format"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine the capture and print what is in it."""
    forced = _forced(arguments.format)
    report = examine(open_capture(arguments.file), dialect=arguments.dialect, fallback=forced)
    taken = forced
    guess = report.guess
    assumed = report.started is not None and report.started.assumed
    if forced is None and assumed and guess is not None and guess.format is not None:
        taken = guess.format
        again = open_capture(arguments.file)
        report = examine(again, dialect=arguments.dialect, fallback=taken, guess=False)
        report.guess = guess
    wav, lacks = arguments.wav, 0
    if wav is not None:
        lacks = _write_wav(arguments, report, taken)
    if arguments.json:
        print_json(report.to_json() | {"wav": wav and str(wav), "not_in_wav": lacks})
        return 0
    for line in _told(report, taken is not None and forced is None):
        print(line)
    if wav is not None:
        said = f"; {lacks} samples have no place in it, for their position or rate" if lacks else ""
        print(f"\nwav          {wav}{said}")
    return 0


def _forced(text: str | None) -> MediaFormat | None:
    try:
        return None if text is None else read_format(text)
    except ValueError:
        raise UsageError(f"--format {text} is no format; write for example mulaw/8000/1") from None


def _write_wav(
    arguments: argparse.Namespace, report: CaptureReport, fallback: MediaFormat | None
) -> int:
    """Read the capture once more and put its audio where the receiver's recording has it.

    Returns how many samples have no place there.
    """
    readable = any(track.format.readable for track in report.tracks.values())
    if report.started is None or not readable:
        what = "audio in a codec that cannot be read" if report.tracks else "no audio"
        raise UsageError(f"{arguments.file} has {what}: there is nothing for {arguments.wav}")
    try:
        file = StereoWav(arguments.wav, report.started.format.sample_rate)
    except FileExistsError:
        raise UsageError(f"{arguments.wav} exists already; name another file") from None
    except OSError as exc:
        raise UsageError(f"{arguments.wav} cannot be written: {exc.strerror or exc}") from None
    patches: list[Patch] = []
    refused = 0

    def keep(track: Track, position: int, payload: bytes, form: MediaFormat) -> None:
        nonlocal refused
        patches.append(Patch(CHANNELS[track], position, payload, form))
        if len(patches) >= _MANY:
            refused += file.put(patches)
            patches.clear()

    try:
        again = open_capture(arguments.file)
        examine(again, dialect=arguments.dialect, fallback=fallback, on_audio=keep, guess=False)
        return refused + file.put(patches)
    except OSError as exc:
        raise MiniVoiceError(f"{arguments.wav}: {exc.strerror or exc}") from None
    finally:
        file.close()


# --- for people ---


def _told(report: CaptureReport, guessed: bool) -> Iterator[str]:
    yield from _opening(report)
    yield ""
    yield f"messages     {report.messages} in {report.last_at:.3f} s"
    for name, kind in report.kinds.items():
        yield f"  {name:<12} {kind.count} ({kind.bytes} bytes); the first at {kind.first_at:.3f} s:"
        for start in range(0, len(kind.first), _WIDTH):
            yield f"    {kind.first[start : start + _WIDTH]}"
    for why, count in report.unknown.items():
        yield f"  not understood: {count} ({escape(why)})"
    for event in report.events:
        yield f"  {event}"
    yield ""
    yield from _format(report, guessed)
    for track, told in report.tracks.items():
        yield ""
        yield from _track(track, told)


def _opening(report: CaptureReport) -> Iterator[str]:
    hand, ended = report.reader.handshake, report.reader.ended
    yield f"stream       {escape(hand.stream_id)} of call {escape(hand.call_id or 'unknown')}"
    yield f"opened       {escape(hand.began)} from {escape(hand.peer or 'unknown')}"
    yield f"path         {escape(hand.path or '')}"
    for name, value in hand.headers:
        yield f"  {escape(name)}: {escape(value)}"
    if hand.subprotocols:
        chosen = escape(hand.subprotocol or "none")
        yield f"subprotocols {escape(', '.join(hand.subprotocols))}; chosen: {chosen}"
    if ended is None:
        yield "ended        never: the capture was cut short; what came before the cut is here"
    else:
        reason = f" ({escape(ended.reason)})" if ended.reason else ""
        yield f"ended        {escape(ended.how)}, by {escape(ended.by)}, {ended.code}{reason}"
    if report.lost:
        yield f"lost         {report.lost} messages could not be kept: the disk was too slow"
    if report.reader.skipped:
        yield f"torn         {report.reader.skipped} lines cannot be read and are left out"


def _format(report: CaptureReport, guessed: bool) -> Iterator[str]:
    started, guess = report.started, report.guess
    yield f"dialect      {report.dialect or 'none recognised'}"
    if started is not None:
        how = "as the stream says"
        if started.assumed:
            how = "a guess" if guessed else "assumed: the stream does not say it in full"
        yield f"format       {started.format} ({how})"
    if report.broken is not None:
        yield f"broken       {report.broken}"
    if guess is not None:
        sounds = "nothing known" if guess.format is None else str(guess.format)
        yield f"sounds like  {sounds}{'' if guess.sure else ' (not certain)'}"
        for line in textwrap.wrap(guess.reason, 87, break_on_hyphens=False):
            yield f"{'':13}{line}"


def _track(name: Track, track: TrackReport) -> Iterator[str]:
    account = track.timeline.account
    seconds = track.format.seconds
    yield f"{name}"
    rate = track.frames_per_second
    pace = "too few to tell the rate" if rate is None else f"{rate:.2f} a second"
    yield f"  pieces     {track.frames}, {track.bytes} bytes, {pace}"
    jitter = f"{track.jitter * 1000:.1f} ms on average, {track.worst * 1000:.1f} ms at the most"
    yield f"  jitter     {jitter}"
    if not track.format.readable:
        yield "  account    none: nobody can tell the samples of a codec that is not known"
        return
    yield f"  account    expected {account.expected} = received {account.received}"
    yield f"             + lost {account.lost} samples; repeated {account.repeated},"
    yield f"             late {account.late}, reordered {account.reordered},"
    yield f"             discarded {account.discarded}, silence {account.silence},"
    yield f"             jumps {account.jumps}"
    yield f"  from       {seconds(account.first):.3f} s to {seconds(account.end):.3f} s"
    yield f"  map        {track.gap_map}"
    holes = track.timeline.holes
    for start, end in holes[:_GAPS]:
        yield f"  gap        at {seconds(start):.3f} s, {end - start} samples"
    if len(holes) > _GAPS:
        yield f"             and {len(holes) - _GAPS} more"
