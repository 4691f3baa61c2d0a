"""From evidence to a finding: the rules, in the order in which they are asked.

A rule returns a finding where it is sure, and nothing anywhere else: a fault that is
not there is never named.
"""

from collections.abc import Callable, Sequence

from cause import access, client, content, network
from cause.evidence import Evidence
from cause.finding import Finding

type Rule = Callable[[Evidence], Finding | None]

RULES: Sequence[Rule] = (
    *network.RULES,
    *client.RULES,
    *access.RULES,
    *content.RULES,
)


def judge(evidence: Evidence) -> Finding | None:
    """Return what is wrong, if anything is, and if it can be told."""
    return next(filter(None, (rule(evidence) for rule in RULES)), None)
