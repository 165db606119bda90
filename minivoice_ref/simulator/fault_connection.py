"""Faults of the connection: how it is opened, with what token, and in what frames it speaks.

Those that wrap the byte stream do so in this order, the first next to the wire: the pieces of the
opening are cut from what all others sent, and pings come between fragments.

Read next: `fault_webhooks.py`.
"""

from __future__ import annotations

import dataclasses
import string
from urllib.parse import urlsplit

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import ConnectFailed, Connector, FetchError, Target
from minivoice_ref.simulator.fault import Fault, Outlook
from minivoice_ref.simulator.fault_streams import FrameStream, SlowStream, fragments, pings

__all__ = ["Fragments", "HalfOpenTls", "PingFlood", "SlowHandshake", "WrongToken"]

_HANDSHAKE_MUST_DO = 5.0
"""Seconds in which a receiver must let a slow peer finish its handshake; an assumption."""

_HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
"""The beginning of a ClientHello of 512 bytes (RFC 8446 section 4.1.2)."""


class SlowHandshake(Fault, name="slow-handshake"):
    """Sends the upgrade request in many small pieces."""

    summary = "the upgrade request arrives piece by piece, and takes SECONDS"
    expects = "it is accepted, or ended at the receiver's deadline; nobody else has to wait"
    assumed = f"a receiver bears with {_HANDSHAKE_MUST_DO:g} s"
    unit, default, most = "seconds", 2.0, 600.0

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        if self.value >= _HANDSHAKE_MUST_DO:
            self.outlook = Outlook.MAY_FAIL
            self.may_be_refused = True

    def alter_timeouts(self, timeouts: Timeouts) -> Timeouts:
        return dataclasses.replace(timeouts, upgrade=timeouts.upgrade + self.value)

    def wrap(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        return SlowStream(stream, self.value)


class HalfOpenTls(Fault, name="half-open-tls"):
    """Has a second connection stop in the middle of its TLS handshake, beside the good stream."""

    summary = "a second connection hangs half way in its TLS handshake, for SECONDS at most"
    expects = "the stream beside it is not disturbed, and the receiver ends it at its deadline"
    assumed = "a receiver ends it within the seconds given"
    unit, default, most = "seconds", 10.0, 600.0

    async def beside(self, url: str, connect: Connector) -> None:
        began = trio.current_time()
        try:
            target = Target.of(url, "ws", "wss")
            stream = await connect(target.host, target.port, False)
        except (ConnectFailed, FetchError) as exc:
            self.found(False, f"there was no connection to leave half open: {exc}")
            return await trio.lowlevel.checkpoint()
        ended = await self._hang(stream)
        held = trio.current_time() - began
        if ended:
            self.found(True, f"the receiver ended the half-open connection after {held:.1f} s")
        else:
            self.found(False, f"the receiver still held it half open after {held:.1f} s")

    async def _hang(self, stream: trio.abc.Stream) -> bool:
        """Say half a hello and wait; return whether the receiver ended the connection."""
        try:
            with trio.move_on_after(self.value) as patience:
                try:
                    await stream.send_all(_HALF_A_HELLO)
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    await trio.lowlevel.checkpoint()
            return not patience.cancelled_caught
        finally:
            await trio.aclose_forcefully(stream)


class WrongToken(Fault, name="wrong-token"):
    """Connects with another token than the answer minted: one character is different."""

    summary = "the stream is opened with a token that differs in one character"
    expects = "the receiver refuses it, before the upgrade, with a status of the 400s"
    assumed = "the token is the last segment of the stream_url's path"
    outlook = Outlook.REFUSED

    def alter_url(self, url: str) -> str:
        parts = urlsplit(url)
        before, slash, token = parts.path.rpartition("/")
        if not token:
            return parts._replace(path=f"{parts.path or '/'}wrong-token").geturl()
        # In its first half: the last characters of base64 may hold bits that nobody reads.
        place = self.random.randrange(len(token) // 2 + 1)
        letters = [letter for letter in string.ascii_letters if letter != token[place]]
        token = token[:place] + self.random.choice(letters) + token[place + 1 :]
        return parts._replace(path=before + slash + token).geturl()


class PingFlood(Fault, name="ping-flood"):
    """Sends pings, many, before each message, and takes their pongs."""

    summary = "PINGS pings are sent before each message"
    expects = "they are answered or let fall; the audio between them is whole and in time"
    # Five to one is a flood: 500 a second with both tracks, where a keepalive sends one in 20 s. It
    # costs either side between three and four times what the stream does. Twenty to one costs ten
    # times as much, and then a load with it measures the sender.
    unit, default, least, most, whole = "pings", 5.0, 1.0, 10000.0, True

    def wrap(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        return FrameStream(stream, pings(int(self.value)))


class Fragments(Fault, name="fragments"):
    """Sends each message in several frames."""

    summary = "each message is sent in up to FRAMES frames"
    expects = "messages are put together again (RFC 6455 section 5.4)"
    unit, default, least, most, whole = "frames", 5.0, 2.0, 1000.0, True

    def wrap(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        return FrameStream(stream, fragments(int(self.value)))
