"""An honest client in a crowd of others who take what they can."""

from pathlib import Path

from bench.contestant import PROXY, ROOT, checkout
from bench.crowd import crowding, pull
from bench.program import run
from bench.site import CROWDED, open_site


def test_an_honest_pull_goes_on_in_a_crowd(tmp_path: Path) -> None:
    """It gets all of the image, and nobody who pulls is refused (T8).

    How long that takes is for `make bench`, on a machine that does nothing else.
    """
    with open_site(tmp_path, is_tls=False, aliases=[CROWDED]) as site:
        contestant = checkout(site, site.streaming, ROOT, PROXY)
        with contestant.started(site) as proxy, crowding(site, proxy) as counts:
            run(pull(site, proxy))
    names = "pull:", "pulls refused"
    assert not [what for what in counts if what.startswith(names)], counts
