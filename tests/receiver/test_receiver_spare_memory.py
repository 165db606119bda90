"""What streams left behind goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from receiver_lab import open_lab, settings, settle

from minivoice_ref.receiver import shared
from minivoice_ref.receiver.app import App

#: Sixty megabytes in small blocks, of which one in a hundred stays: the others are holes.
HOLES = """
import os
from pathlib import Path

from minivoice_ref.receiver.spare_memory import give_back_memory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


blocks = [bytes(2000) for _ in range(30000)]
full = resident()
blocks = blocks[::100]
before = resident()
give_back_memory()
print(full - before, full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_free_pages_between_blocks_in_use_go_back_to_the_system() -> None:
    run = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, check=True)
    by_itself, when_asked = map(int, run.stdout.split())
    assert by_itself < 10e6 < 40e6 < when_asked


async def test_memory_is_given_back_after_each_sixty_four_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    begun: list[int] = []
    given: list[int] = []
    monkeypatch.setattr(shared, "give_back_memory", lambda: given.append(len(begun)))
    async with open_lab(App(), settings(tmp_path)) as lab:
        for number in range(130):
            begun.append(number)
            async with lab.stream(f"call_{number}") as caller:
                await caller.start()
                await caller.stop()
                await caller.close_code()
            await settle()
    assert given == [64, 128]
