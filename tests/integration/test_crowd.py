"""An honest client in a crowd of others who take what they can."""

from contextlib import ExitStack
from pathlib import Path

from bench.contestant import PROXY, ROOT, checkout
from bench.crowd import compare
from bench.site import CROWDED, open_site

SLOWER_MAX = 3
TRIES = 3
"""The machine may do something else during one of them."""


def test_an_honest_pull_goes_on_in_a_crowd(tmp_path: Path) -> None:
    """It takes at most three times as long, and nobody who pulls is refused (T8)."""
    with ExitStack() as stack:
        made = open_site(tmp_path, is_tls=False, aliases=[CROWDED])
        site = stack.enter_context(made)
        contestant = checkout(site, site.streaming, ROOT, PROXY)
        proxy = stack.enter_context(contestant.started(site))
        ratios: list[float] = []
        while not ratios or (ratios[-1] > SLOWER_MAX and len(ratios) < TRIES):
            alone, crowded, counts = compare(site, proxy, tmp_path)
            ratios.append(crowded / alone)
            names = "pull:", "pulls refused"
            assert not [what for what in counts if what.startswith(names)], counts
    assert ratios[-1] <= SLOWER_MAX, ratios
