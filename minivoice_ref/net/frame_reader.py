"""Finds the whole messages in what was read, quickly, and what the library has to look at.

Nearly all that a stream brings are frames with a whole message each: FIN set, text or binary, a
short head, masked as it should be. These are taken apart here, in one loop without a call. All else
is *odd*: the library must see it, in its place among the messages, and nothing that is no frame may
be mistaken for one. So each byte ends up in exactly one of three ways:

    messages     whole data frames, unmasked, text decoded
    odd          fragments and pings, as whole frames: the library takes them, then `go_on`
                 from the first byte on that no peer may send, and from a Close on: all that comes
    _torn        the beginning of a good frame that has not come whole, at most one message's size

What a peer may not send is not judged here, only recognised: the library judges it, with its own
words and close code. RFC 6455 section 5.2 is what the head looks like, section 5.4 what fragments
may do, section 5.5 that a control frame is short and whole.

Knows no sockets. Read next: `fast_wire.py`.
"""

from __future__ import annotations

from minivoice_ref.net.frames import lay_mask
from minivoice_ref.protocol.media import WireMessage

__all__ = ["FrameReader"]

_WHOLE_TEXT, _WHOLE_BINARY = 0x81, 0x82
_WHOLE = (_WHOLE_TEXT, _WHOLE_BINARY)
_FIRST_FRAGMENTS = (0x01, 0x02)
_BEGINNINGS = (*_WHOLE, *_FIRST_FRAGMENTS)
_LAST_FRAGMENT = 0x80
_INSIDE = (0x00, _LAST_FRAGMENT)  # of a message in fragments
_PING_AND_PONG = (0x89, 0x8A)
_LONGEST_CONTROL = 125
_MASKED = 0x80

_UNKNOWN, _BAD = 0, -1


class FrameReader:
    """Takes bytes apart; *masked* are those of a client. No message is longer than *limit* bytes.

    `take` what was read. Then `messages` has what came whole, in order, to be emptied by the owner;
    if `odd` is not empty, it has to go to the library before `go_on` looks further.
    """

    def __init__(self, limit: int, *, masked: bool) -> None:
        self.messages: list[WireMessage] = []
        self.odd = b""
        self._limit = limit
        self._mask_bit = _MASKED if masked else 0
        self._mask_size = 4 if masked else 0
        self._torn = bytearray()
        self._enough = 0  # bytes with which the torn frame, or its head, would be whole
        self._behind = b""  # what was read and comes after `odd`
        self._fragments = False  # the last data frame was no end of a message
        self._given_up = False  # all that comes is the library's

    def take(self, data: bytes | bytearray) -> None:
        """Take what was read; `odd` has to be empty."""
        if self._given_up:
            self.odd = bytes(data)
            return
        if self._torn:
            self._torn += data
            if len(self._torn) < self._enough:
                return
            data, self._torn = self._torn, bytearray()
        self._read(bytes(data))

    def go_on(self) -> None:
        """Look at what comes behind `odd`, which the library has taken."""
        data = self._behind
        self.odd = self._behind = b""
        self._read(data)

    def give_up(self) -> bytes:
        """All that was not taken apart; from now on everything is `odd`."""
        rest = self.odd + self._behind + bytes(self._torn)
        self.odd = self._behind = b""
        self._torn.clear()
        self._given_up = True
        return rest

    def _read(self, data: bytes) -> None:
        """Take whole messages until something else is met."""
        place, size, mask_bit, mask_size = 0, len(data), self._mask_bit, self._mask_size
        while size - place > 3 and not self._fragments:
            length = data[place + 1] ^ mask_bit
            start = place + 2 + mask_size
            if length == 126:
                length = data[place + 2] << 8 | data[place + 3]
                start += 2
                if length < 126:
                    break
            elif length > 126:
                break
            end = start + length
            if end > size or length > self._limit or data[place] not in _WHOLE:
                break
            payload = data[start:end]
            if mask_size:
                payload = lay_mask(payload, data[start - 4 : start])
            if data[place] == _WHOLE_BINARY:
                self.messages.append(payload)
            else:
                try:
                    self.messages.append(payload.decode())
                except UnicodeDecodeError:
                    break
            place = end
        if place < size:
            self._set_aside(data, place)

    def _set_aside(self, data: bytes, begin: int) -> None:
        """Find out how far the odd frames go that begin at *begin*; keep what is torn."""
        place, size = begin, len(data)
        while place < size:
            first = data[place]
            if first in _WHOLE and place > begin and not self._fragments:
                break
            end = self._end_of_frame(data, place)
            if end == _BAD:
                self._given_up, place = True, size
                break
            if end == _UNKNOWN or end > size:
                break
            place = end
            if first == _LAST_FRAGMENT:
                self._fragments = False
            elif first in _FIRST_FRAGMENTS:
                self._fragments = True
        if place == begin:
            self._torn += data[begin:]
            self._enough = end - begin
        else:
            self.odd, self._behind = data[begin:place], data[place:]

    def _end_of_frame(self, data: bytes, place: int) -> int:
        """Where the frame at *place* ends, if it may stand there at all, and its head has come."""
        first, size = data[place], len(data) - place
        if first in _PING_AND_PONG:
            longest = _LONGEST_CONTROL
        elif first in (_INSIDE if self._fragments else _BEGINNINGS):
            longest = self._limit
        else:
            return _BAD
        if size < 2:
            return _UNKNOWN
        length = data[place + 1] ^ self._mask_bit
        if length > 127:
            return _BAD
        width = {126: 2, 127: 8}.get(length, 0)  # of the length, where it needs more than 7 bits
        if size < 2 + width:
            return _UNKNOWN
        if width:
            length = int.from_bytes(data[place + 2 : place + 2 + width])
            if length < (126 if width == 2 else 65536):
                return _BAD
        if length > longest:
            return _BAD
        return place + 2 + width + self._mask_size + length
