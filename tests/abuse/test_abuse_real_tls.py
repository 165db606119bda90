"""The corpus of abuse once more, all of it at once, against one receiver on real sockets with TLS.

Real time, with short deadlines. Who speaks to a plain door has one of its own.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from abuse_corpus import Case, read_corpus
from abuse_ground import OUR_FAULTS, Ground, open_on_sockets
from abuse_parts import Words
from abuse_player import judge, patience, play, strange_tls

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.testing import living_tasks

SHORT = Timeouts(
    tls_handshake=4.0,
    request_head=4.0,
    request_body=20.0,
    keep_alive=4.0,
    upgrade=4.0,
    send=4.0,
    close=1.0,
    first_message=6.0,
    silence=20.0,
    ping_every=6.0,
    pong=14.0,
    finish=3.0,
    answer=20.0,
    grace=10.0,
)
SLACK = 20.0  # seconds that a busy machine may take in addition
AT_ONCE = 16


def open_files() -> int:
    """How many file descriptors this process holds."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("abuse-certificates"))


@asynccontextmanager
async def grounds(
    certificates: Certificates, folder: Path, transport: str = "fast"
) -> AsyncIterator[tuple[Ground, Ground]]:
    """A receiver behind TLS, and one with a plain door."""
    connect = TcpConnector(client_context(certificates.ca), Timeouts())
    async with (
        open_on_sockets(
            folder / "tls", certificates, connect, SHORT, transport=transport
        ) as behind_tls,
        open_on_sockets(folder / "plain", None, connect, SHORT, transport=transport) as plain,
    ):
        yield behind_tls, plain


def _differs(case: Case) -> bool:
    """Whether it is one of those in which the two ways to read have a part."""
    return case.is_stream or case.door in ("tls", "beneath tls")


@pytest.mark.parametrize("transport", ["fast", "simple"])
async def test_all_abuse_at_once_over_real_tls_and_the_next_caller_is_served(
    transport: str, certificates: Certificates, tmp_path: Path
) -> None:
    faults: list[str] = []
    trusted = client_context(certificates.ca)
    waiting = sorted(read_corpus(), key=lambda case: patience(case, SHORT))  # the slow ones first
    waiting = [case for case in waiting if case.sockets and (transport == "fast" or _differs(case))]

    async with grounds(certificates, tmp_path, transport) as (behind_tls, plain):

        async def connect(case: Case) -> trio.abc.Stream:
            ground = plain if case.door == "plain" else behind_tls
            stream = await trio.open_tcp_stream(*ground.address)
            if ground is plain or case.door == "beneath tls":
                return stream
            return await strange_tls(case, stream, trusted, certificates)

        async def abuse() -> None:
            await trio.lowlevel.checkpoint()
            while waiting:
                case = waiting.pop()
                call_id = f"call_abuse_{len(waiting)}"
                heard = await play(case, connect, Words(time.time(), call_id), SHORT, SLACK)
                slack = SLACK + SHORT.close  # TLS is never half closed: who lingers, lingers on
                told = judge(case, heard, SHORT, slack)
                faults.extend(f"{call_id}: {case.name}: {fault}" for fault in told)

        for ground in (behind_tls, plain):
            await ground.serve_next_caller()
        await trio.sleep(0.1)
        tasks, descriptors = living_tasks(), open_files()
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(abuse)
            ends = [line for line in behind_tls.news() if line["what"] == "disconnected"]
            told = [line for line in ends if f"{line.get('call_id')}: " in "\n".join(faults)]
            assert not faults, "\n".join([*faults, *map(str, told)])
            for ground in (behind_tls, plain):
                await ground.serve_next_caller()
            with trio.fail_after(10):
                await trio.lowlevel.checkpoint()
                # No event tells when the last descriptor is closed.
                while living_tasks() > tasks or open_files() > descriptors:  # noqa: ASYNC110
                    await trio.sleep(0.05)
        for ground in (behind_tls, plain):
            codes = {line.get("code") for line in ground.news(again=True)}
            assert not codes & OUR_FAULTS


async def test_a_client_that_renegotiates_is_refused_and_the_next_caller_is_served(
    certificates: Certificates, tmp_path: Path
) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl program here to renegotiate with")
    async with grounds(certificates, tmp_path) as (behind_tls, _):
        host, port = behind_tls.address
        with trio.fail_after(20):
            said = await trio.run_process(
                [program, "s_client", "-connect", f"{host}:{port}", "-tls1_2"],
                stdin=b"R\n",  # R asks for it
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            await behind_tls.serve_next_caller()
        assert b"RENEGOTIATING" in said.stderr, said
        assert b":no renegotiation:" in said.stderr, said
