"""What a person reads where a pull is refused (design section 7).

That each client shows it, `tests/client` sees to.
"""

import pytest

from demo.proxy import Proxy
from tests.integration.visitor import visiting

BROWSER = "balenablocks/browser-aarch64"
HIDDEN = "is private or does not exist: check its name, or log in with docker login"
NEWEST = "its newest are 2.9.3, 2.9.2, 2.9.0, 2.3.8 (target), 2.3.7"
FORM = "does not name a release: use <org>/<app>"

REFUSALS = {
    f"{BROWSER}/9.9.9": f"has no release 9.9.9 that can be pulled; {NEWEST}",
    f"{BROWSER}:9.9.9": f"has no release 9.9.9 that can be pulled; {NEWEST}",
    f"{BROWSER}/3.0.0": "has no release 3.0.0 that can be pulled; its newest are",
    f"{BROWSER}/1.5.0": "has no release 1.5.0 that can be pulled; its newest are",
    f"{BROWSER}/2.4": "has no release 2.4 that can be pulled; its newest are",
    f"{BROWSER}:2.9.2": f"release 2.9.2+rev1 of {BROWSER} has several images: helper,"
    f" main; name one, as in {BROWSER}/2.9.2/helper",
    "balenablocks/multi-app/1.0.0": "has several images: db, web; name one, as in"
    " balenablocks/multi-app/1.0.0/db",
    "balenablocks/multi-app": "has several images: db, web; name one, as in"
    " balenablocks/multi-app/latest/db",
    "balenablocks/multi-app/1.0.0/nope": "has no image service nope; it has db, web",
    "balenablocks/empty-app": "has no target release that can be pulled;"
    " it offers no version",
    "balenablocks/empty-app:1.0.0": "it offers no version",
    "balenablocks/pinned-app:0.1": "balenablocks/pinned-app has no release 0.1 that can"
    " be pulled; its newest are 2.1.0, 2.0.0, 1.1.0 (target), 1.0.0",
    "balenablocks/twins/abcdef0": "2 commits of balenablocks/twins begin with abcdef0:"
    " abcdef01 (1.0.0), abcdef09 (1.1.0); give more of the one that is meant",
    "balenablocks/twins:abcdef0": "2 commits of balenablocks/twins begin with abcdef0",
    "balenablocks/private-block": f"balenablocks/private-block {HIDDEN}",
    "balenablocks/private-block/1.0.0": f"balenablocks/private-block {HIDDEN}",
    "nobody/nothing": f"nobody/nothing {HIDDEN}",
    "nobody/nothing:1": "nobody/nothing is private or does not exist",
    "alpine": f"'alpine' {FORM}",
    "a/b/c/d/e": f"'a/b/c/d/e' {FORM}",
}


def refusal(proxy: Proxy, reference: str) -> tuple[int, str]:
    """Return the status of the manifest request, and the body."""
    name, _, tag = reference.partition(":")
    with visiting(f"http://{proxy.host}", name) as visitor:
        answer = visitor.ask("GET", f"manifests/{tag or 'latest'}")
    return answer.status_code, answer.text


@pytest.mark.parametrize("reference", REFUSALS)
def test_message_says_what_would_have_worked(proxy: Proxy, reference: str) -> None:
    """The error that a client meets names the value, and what there is."""
    status, body = refusal(proxy, reference)
    assert status in {400, 403, 404}
    assert REFUSALS[reference] in body


def test_private_and_absent_read_the_same(proxy: Proxy) -> None:
    """Nobody learns from a refusal whether an application exists (S11)."""
    slugs = ("balenablocks/private-block", "balenablocks/nothing-here1")
    answers = {slug: refusal(proxy, slug) for slug in slugs}
    told = {(status, body.replace(s, "SLUG")) for s, (status, body) in answers.items()}
    assert len(told) == 1
