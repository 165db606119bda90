"""What all tests share: Hypothesis looks for wrong results, never at a busy machine's clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def tell_figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells what a test has measured: for the table of `python -m benchmarks.reliability`."""
    return lambda figure: request.node.user_properties.append(("figure", figure))
