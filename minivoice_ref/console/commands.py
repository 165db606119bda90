"""What a browser may ask over the feed, once it has been let in.

    {"do": "look", "calls": true, "logs": false, "call": null, "listen": false}
    {"do": "check", "number": 1, "text": "{\\"actions\\": ...}"}      -> checked
    {"do": "test", "number": 2, "order": {...}, "microphone": false}  -> test, again and again
    {"do": "hang_up"}
    20 ms of the microphone, as a binary message

Whatever else comes ends the feed with 1008: our page does not send it. Who listens to a call, and
who places one, stands in the streams' log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from minivoice_ref.console.feed import Feed, encode
from minivoice_ref.console.test_calls import Microphone, Order, read_order
from minivoice_ref.console.viewers import Viewer, Wants
from minivoice_ref.protocol.actions import read_answer
from minivoice_ref.protocol.errors import Problem, RemoteProtocolError
from minivoice_ref.protocol.media import WireMessage

__all__ = ["Commands", "PlaceOrder"]

PlaceOrder = Callable[[Order, Callable[[Mapping[str, Any]], None]], str | None]
"""Has a test call placed; what happens is told to the second argument. Returns why not, or None."""

Note = Callable[..., None]
"""Notes a line in the streams' log."""

_LONGEST_ID = 512


class Commands:
    """The commands of one viewer."""

    def __init__(self, viewer: Viewer, feed: Feed, place: PlaceOrder, note: Note) -> None:
        self._viewer = viewer
        self._feed = feed
        self._place = place
        self._note = note
        self._microphone: Microphone | None = None
        self._order: Order | None = None

    def obey(self, message: WireMessage) -> None:
        """Do what a message asks. RemoteProtocolError (1008): what our page never asks."""
        if isinstance(message, bytes):
            if self._microphone is not None:
                self._microphone.put(message)
            return
        try:
            asked = json.loads(message)
            does = {
                "look": self._look,
                "check": self._check,
                "test": self._test,
                "hang_up": self._hang_up,
            }[asked["do"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise RemoteProtocolError("no command", close_code=1008) from None
        does(asked)

    def leave(self) -> None:
        """Note that nobody listens any more."""
        self._note_listening(Wants())

    def _look(self, asked: Mapping[str, Any]) -> None:
        call = asked.get("call")
        if call is not None and not (isinstance(call, str) and len(call) <= _LONGEST_ID):
            raise RemoteProtocolError("no call's id", close_code=1008)
        wants = Wants(
            calls=asked.get("calls") is True,
            logs=asked.get("logs") is True,
            call=call,
            listen=asked.get("listen") is True and self._feed.ids_of(call) is not None,
        )
        self._note_listening(wants)
        self._viewer.want(wants)
        self._feed.attend()

    def _note_listening(self, wants: Wants) -> None:
        before = self._viewer.wants
        heard, hears = (one.call if one.listen else None for one in (before, wants))
        if heard == hears:
            return
        if heard is not None:
            self._note("listening_ended", peer=self._viewer.peer, **self._feed.ids_of(heard) or {})
        if hears is not None:
            self._note("listening", peer=self._viewer.peer, **self._feed.ids_of(hears) or {})

    def _check(self, asked: Mapping[str, Any]) -> None:
        checked = read_answer(str(asked.get("text", "")))
        told = {
            "type": "checked",
            "number": asked.get("number"),
            "valid": checked.valid,
            "actions": [action and action.type for action in checked.actions],
            "problems": [_told(problem) for problem in checked.problems],
            "warnings": [_told(warning) for warning in checked.warnings],
        }
        self._viewer.reply(encode(told))

    def _test(self, asked: Mapping[str, Any]) -> None:
        number = asked.get("number")
        self._microphone = Microphone() if asked.get("microphone") is True else None
        order = read_order(asked.get("order"), self._microphone)

        def tell(news: Mapping[str, Any]) -> None:
            self._viewer.reply(encode({"type": "test", "number": number, **news}))

        why_not = self._place(order, tell)
        if why_not is None:
            self._order = order
            self._note("test_call", peer=self._viewer.peer, faults=order.faults or None)
        else:
            tell({"problem": why_not})

    def _hang_up(self, asked: Mapping[str, Any]) -> None:
        del asked
        if self._order is not None:
            self._order.hang_up.set()


def _told(problem: Problem) -> dict[str, str]:
    return {"path": problem.path, "message": problem.message, "mend": problem.mend}
