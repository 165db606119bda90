"""What all tests share: Hypothesis looks for wrong results, never at a busy machine's clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
