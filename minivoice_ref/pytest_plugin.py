"""A fixture of pytest for tests of an application: `testing.open_memory_rehearsal`, its files kept.

It is there for whoever asks for it, by a line in the `conftest.py` at the root of their tests, and
costs nobody else anything:

    pytest_plugins = ["minivoice_ref.pytest_plugin"]

The only importer of pytest. It knows nothing that `testing.py` does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from minivoice_ref.rehearsal import Rehearsal
from minivoice_ref.testing import open_memory_rehearsal

__all__ = ["memory_rehearsal"]


@pytest.fixture
def memory_rehearsal(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Rehearsal]]:
    """`open_memory_rehearsal`, whose receiver keeps logs and recordings in `tmp_path / "data"`.

    The test that uses it names `autojump_clock` itself: the clock is set up for those that do.
    """
    return partial(open_memory_rehearsal, data=tmp_path / "data")
