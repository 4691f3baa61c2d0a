"""How long a property is tried: a few examples, or as many as FUZZ_SECONDS allows.

The short run has the same examples each time, so that it fails for the code alone.
The long one is repeated with new seeds until its time is over (`conftest`).
"""

import os

from hypothesis import HealthCheck, settings

SECONDS = int(os.environ.get("FUZZ_SECONDS") or 0)
"""For each property; 0 is the short run."""

FUZZ = settings(
    max_examples=1000 if SECONDS else 20,
    derandomize=not SECONDS,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
"""One round."""
