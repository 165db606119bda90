"""python examples/record_everything.py [FOLDER]: every call on the disk, and a list to find it by.

Recording is the receiver's business, not the application's: two settings have it write a stereo
WAV of each stream, the caller left and the agent right, and every message of the platform as it
came. What a recording lacks is what a person asks for: who called whom, and when. That is in the
webhooks. So this program keeps the webhooks in a table, in the same folder, and joins the two by
the call's id, which stands in the JSON file beside each WAV.

It places a test call at itself and prints the list. For the platform, put this in the place of the
last lines: trio.run(serve_until_signal, App(on_event=register.keep), Config.from_env()).
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import trio

from minivoice_ref import App, CallEvent
from minivoice_ref.rehearsal import open_rehearsal

TABLE = """
create table if not exists events (
    key text primary key, call_id text, event text, at text, caller text, called text
)"""

CALL = """
select min(at), caller, called, max(event = 'call.completed') from events where call_id = ?"""


class Register:
    """The calls that there were, in a file of its own beside the recordings."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "register.sqlite3"
        # One thread at a time: the disk gains nothing from two, and rows come in order.
        self._disk = trio.CapacityLimiter(1)
        self.call_ended = trio.Event()

    async def keep(self, event: CallEvent) -> None:
        """The application's `on_event`: when it returns, the event is on the disk.

        The receiver hands an event over again until this succeeds, so that an event may come
        twice; its key is what makes the second time harmless.
        """
        await trio.to_thread.run_sync(self._keep, event, limiter=self._disk)
        if event.ends_call:
            self.call_ended.set()

    def _keep(self, event: CallEvent) -> None:
        call = event.call
        when = event.created_at.isoformat(timespec="seconds")
        row = (event.key, call.id, event.event, when, call.from_number, call.to_number)
        with closing(sqlite3.connect(self._file)) as database, database:
            database.execute(TABLE)
            database.execute("insert or ignore into events values (?, ?, ?, ?, ?, ?)", row)

    def list_recordings(self) -> Iterator[str]:
        """A line for each recording: when, who, how long, what is missing, and the file."""
        with closing(sqlite3.connect(self._file)) as database:
            for path in sorted((self._folder / "recordings").glob("*.json")):
                told = json.loads(path.read_text("utf-8"))
                found = database.execute(CALL, (told["call_id"],)).fetchone()
                began, caller, called, completed = found
                seconds = told["samples"] / told["sample_rate"]
                lost = sum(track["lost"] for track in told["tracks"].values())
                yield (
                    f"{began}  {caller} -> {called}  {seconds:5.1f} s"
                    f"  {lost} samples lost, {told['not_recorded']} not recorded"
                    f"  {'completed' if completed else 'not completed'}"
                    f"  {path.with_suffix('.wav')}"
                )


async def main(folder: Path) -> None:
    """Serve, have one test call placed, and show what is kept of it."""
    register = Register(folder)
    app = App(on_event=register.keep)  # the default answer streams both tracks
    async with open_rehearsal(app, data=folder, record=True, capture=True) as rehearsal:
        print(await rehearsal.call(speak=2))
        await register.call_ended.wait()  # what waits for us when we stop comes at the next start
    # Here all has drained, so the recordings are closed.
    for line in register.list_recordings():
        print(line)


if __name__ == "__main__":
    trio.run(main, Path((sys.argv[1:] or ["minivoice-data"])[0]))
