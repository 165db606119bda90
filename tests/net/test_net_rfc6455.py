"""The RFC 6455 suite of the field, run against an echo behind the front door, both ways.

`kosoku` drives the case files of the Autobahn test suite. Its client runs in a process of its own,
since it needs an event loop of another kind. Left out are its cases 9 (how fast, how much), which
measure more than they check, and 12 and 13 (compression), which we never agree to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import pytest
import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.front_door import Door, serve_doors
from net_parties import EchoSite

CASES = 247
PROGRAM = """
import asyncio, json, os, sys
import kosoku

async def run():
    try:
        return await kosoku.run_fuzzingclient(
            sys.argv[1], exclude_cases=["9.*", "12.*", "13.*"], concurrency=8
        )
    except kosoku.FailureError as exc:
        return exc.results

cases = asyncio.run(run())
found = [[case.case_id, case.behavior.value, case.behavior_close.value] for case in cases]
print(json.dumps(found), flush=True)
os._exit(0)  # without the interpreter's end, in which the suite's own threads now and then abort
"""


@pytest.mark.parametrize("transport", ["fast", "simple"])
async def test_every_case_of_the_suite_is_ok_or_not_strict(transport: str) -> None:
    site, stop = EchoSite(), trio.Event()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/stream/a"
    door = Door(listeners, None, site, transport=transport)
    serve = partial(serve_doors, [door], stop, limits=Limits(), timeouts=Timeouts())
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            command = [sys.executable, "-c", PROGRAM, url]
            done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
            stop.set()
    cases = json.loads(done.stdout)
    assert len(cases) == CASES
    bad = [
        case
        for case in cases
        if case[1] not in ("OK", "NON-STRICT", "INFORMATIONAL")
        or case[2] not in ("OK", "INFORMATIONAL")
    ]
    assert bad == []
    assert site.kinds == []
