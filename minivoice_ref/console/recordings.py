"""A recording for the browser, piece by piece.

A WAV of hours is hundreds of megabytes. The page asks for it in ranges of a mebibyte (RFC 9110
section 14) and puts them together, so that no piece holds up anything for long; whoever wants a
short one whole gets it. The file may still be growing: at every moment it is a valid WAV.

A recording is found by its stream's id, in the folder that the workers of a machine share: so
whichever of them is asked has it, also one that knows nothing of the call.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from minivoice_ref.net.http import Response

__all__ = ["read_part", "read_recording"]

_ID = re.compile(r"stream_[0-9a-f]{1,64}")
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")
_MOST = 1024 * 1024  # bytes of one response to a range
_MOST_WHOLE = 32 * 1024 * 1024  # bytes of a file that is sent whole


def read_recording(folder: Path, stream_id: str, wanted: str | None) -> Response:
    """The part of a stream's recording in *folder* that the Range header *wanted* names, or a 404.

    Blocks: for a thread.
    """
    try:
        if _ID.fullmatch(stream_id):
            for path in folder.glob(f"*_{stream_id}.wav"):
                return read_part(path, wanted)
    except OSError:
        pass  # it was taken away
    return Response.problem(404, "there is no recording of this stream here")


def read_part(path: Path, wanted: str | None) -> Response:
    """The part of the WAV file *path* that the Range header *wanted* names; all of it without one.

    Blocks: for a thread. A range may come back shorter than asked for. Raises OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        headers = (("Content-Type", "audio/wav"), ("Accept-Ranges", "bytes"))
        match = _RANGE.fullmatch(wanted or "")
        if match is None:
            if size > _MOST_WHOLE:
                return Response.problem(416, "ask for it in ranges", headers)
            name = ("Content-Disposition", f"attachment; filename={path.name}")
            return Response(200, file.read(_MOST_WHOLE), (*headers, name))
        start = int(match[1])
        last = min(int(match[2] or size), start + _MOST - 1, size - 1)
        if start >= size or last < start:
            return Response(416, b"", (*headers, ("Content-Range", f"bytes */{size}")))
        file.seek(start)
        part = file.read(last - start + 1)
        place = f"bytes {start}-{start + len(part) - 1}/{size}"
        return Response(206, part, (*headers, ("Content-Range", place)))
