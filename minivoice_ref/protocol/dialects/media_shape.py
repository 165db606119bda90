"""The form of one stream's media messages, learned from one of them, to read the next ones quickly.

A platform writes each of its media messages alike: the same names in the same order, the same
spaces, and between them a few numbers, a track and the audio. Taking such a message apart as JSON
makes two objects and a dozen texts, for five values. Once one message was read that way, its form
is known: the next one is matched against it, and if it fits, its values are where they were.

What does not fit is no fault. It is read the slow way, as if this module were not there, and what
is wrong with it is said there. So the one promise here is never to read what the slow way would
have read differently:

* all that stands outside of texts, each name, and the name of the event are compared as they are;
* a number is digits: as a text at most 15 of them, and not beginning with 0 where it is none;
* any other text may be any, without quotes, backslashes and control characters, which JSON escapes;
* the audio has the characters of base64 alone, and must be base64 to its last one;
* a form is learned only if none of these names occurs twice in it, and if a message that is made
  from it with other values is read, as JSON, with these values.

Knows no dialect: the names are given. Read next: `json_family.py`.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from functools import lru_cache

from minivoice_ref.protocol.dialects.fields import TRACKS, Positions, object_of
from minivoice_ref.protocol.media import Media, MediaFormat

__all__ = ["MediaShape", "learn_shape"]

_ANY_TEXT = r'[^"\\\x00-\x1f]*'
_WORD = "([a-z_]+)"
_BASE64 = "([A-Za-z0-9+/=]+)"
_NUMBER = "([0-9]{1,15})"
_BARE_NUMBER = "(0|[1-9][0-9]{0,14})"
_AFTER_NAME = re.compile(r"(\s*:\s*)([0-9]+)(.*)", re.DOTALL)
_TRACK, _PAYLOAD = "track", "payload"
_OTHER = {_TRACK: "outbound", "timestamp": "123454321", "chunk": "77", _PAYLOAD: "abcdefgh"}


class MediaShape:
    """A form: the regular expression *pattern*, in which the values stand in the order of *names*.

    *sequence* is the name of the running number.
    """

    def __init__(self, pattern: str, names: tuple[str, ...], sequence: str) -> None:
        self._fits: Callable[[str], re.Match[str] | None] = re.compile(pattern).fullmatch
        wanted = (_TRACK, _PAYLOAD, "timestamp", sequence, "chunk")
        self._places = tuple(names.index(name) + 1 for name in wanted)

    def read(self, message: str, format: MediaFormat, positions: Positions) -> Media | None:
        """What *message* says; None where it does not fit, or its values have to be judged."""
        found = self._fits(message)
        if found is None:
            return None
        track, payload, timestamp, sequence, chunk = found.group(*self._places)
        named = TRACKS.get(track)
        try:
            audio = a2b_base64(payload, strict_mode=True)
        except ValueError:
            return None
        if named is None or not audio:
            return None
        position = positions.at(int(timestamp))
        # As `Media(...)` does it, without the function between.
        return tuple.__new__(Media, (named, audio, format, position, int(sequence), int(chunk)))


_shape = lru_cache(maxsize=64)(MediaShape)
"""Forms that were learned: streams of one platform share theirs."""


def learn_shape(message: str, event: str, sequence: str) -> MediaShape | None:
    """The form of *message*, a media message that was understood; None where it has none to learn.

    *event* and *sequence* are the names of the event and of the running number.
    """
    if "\\" in message:
        return None
    # Without backslashes each second piece between quotes is a text.
    pieces = message.split('"')
    other = _OTHER | {sequence: "99"}
    pattern, changed = "", ""
    names: list[str] = []
    for place, piece in enumerate(pieces):
        name = _name_before(pieces, place)
        bare = _AFTER_NAME.fullmatch(piece) if place % 2 == 0 else None
        if place % 2 == 0 and bare and name in other:
            pattern += re.escape(bare[1]) + _BARE_NUMBER + re.escape(bare[3])
            changed += bare[1] + other[name] + bare[3]
            names.append(name)
        elif place % 2 == 1 and name in other:
            pattern += {_TRACK: _WORD, _PAYLOAD: _BASE64}.get(name, _NUMBER)
            changed += other[name]
            names.append(name)
        else:
            free = place % 2 == 1 and name not in (None, event)
            pattern += _ANY_TEXT if free else re.escape(piece)
            changed += piece
        pattern, changed = pattern + '"', changed + '"'
    if len(names) > len(set(names)) or not _is_read_so(changed[:-1], event, sequence, other):
        return None
    return _shape(pattern[:-1], tuple(names), sequence)


def _name_before(pieces: list[str], place: int) -> str | None:
    """The name of the value at *place*: of a text, or of what stands outside; None if it has none.

    A name has none itself.
    """
    if place % 2 == 0:
        return pieces[place - 1] if place else None
    is_value = place > 2 and pieces[place - 1].strip() == ":"
    return pieces[place - 2] if is_value else None


def _is_read_so(message: str, event: str, sequence: str, values: Mapping[str, str]) -> bool:
    """Whether all of *values* are found in *message* where a media message has them."""
    document = object_of(message)
    media = document.get("media") if document else None
    if document is None or not isinstance(media, dict) or document.get(event) != "media":
        return False
    found = {**{name: media.get(name) for name in _OTHER}, sequence: document.get(sequence)}
    return all(str(found[name]) == value for name, value in values.items())
