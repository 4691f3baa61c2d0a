"""Connections that fail or break, and what stands between: DNS, TCP, TLS, framing."""

from collections.abc import Callable, Sequence

from cause.evidence import Evidence
from cause.finding import Finding

RULES: Sequence[Callable[[Evidence], Finding | None]] = ()
"""In the order in which they are asked."""
