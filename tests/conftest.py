"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# A deadline is a timed assertion, and the machines are noisy.
settings.register_profile("greenroom", deadline=None)
settings.load_profile("greenroom")
