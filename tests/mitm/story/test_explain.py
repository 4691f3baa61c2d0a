"""What happened to a flow, and what the client will do next, in sentences."""

from collections.abc import Mapping
from typing import Any

import pytest
from mitmproxy.flow import Error

from mitm.story.explain import FOREIGN, explain
from mitm.story.record import Kind, Login, Outcome, OwnKind
from tests.mitm.story.sample import ALIAS, flow_with
from tests.resolver.fake import COMMIT, LOCATION

type State = Mapping[str, Any]

FOUND: State = {
    "alias": ALIAS,
    "release": "2.3.8+rev2",
    "commit": COMMIT,
    "location": LOCATION,
    "reason": "the greatest final release of 2.3.x",
    "cache": "miss",
}
TOKEN: State = {
    "kind": "token",
    "alias": ALIAS,
    "login": "none",
    "outcome": "served",
    "api_seconds": 0.25,
    "aliases": [FOUND],
}
NONE: State = {"alias": "org/gone", "code": "NAME_UNKNOWN", "message": "there is none"}
REFUSED: State = {
    **TOKEN,
    "outcome": "refused",
    "code": "NAME_UNKNOWN",
    "message": "there is none",
    "aliases": [NONE],
}
DENIED: State = {**REFUSED, "code": "DENIED"}
BLOB: State = {
    "kind": "blob",
    "alias": ALIAS,
    "outcome": "served",
    "bytes": 12_300_000,
    "seconds": 1.5,
    "registry_seconds": 0.25,
}
MANIFEST: State = {**BLOB, "kind": "manifest"}
BY_TAG: State = {**MANIFEST, "alias": "org/app", "aliases": [{**FOUND, "tag": "2.3"}]}
UNAUTHORIZED: State = {"outcome": "unauthorized", "code": "UNAUTHORIZED"}
OWN: State = {"alias": "org/app", "seconds": 0.25, "outcome": "served"}


def explained(
    state: State | None, status: int = 200, method: str = "GET", location: str = ""
) -> str:
    """Return the explanation of a flow with this record."""
    headers = {"location": location} if location else {}
    return " ".join(explain(flow_with(state, status, method, headers)))


@pytest.mark.parametrize(
    ("state", "status", "sentence"),
    [
        ({"kind": "base", "outcome": "challenged"}, 401, "Next it asks /auth/v1/token"),
        ({"kind": "base", "outcome": "served"}, 200, "It is, and the token is good."),
        (TOKEN, 200, f"a token to pull {ALIAS}, without a login."),
        (
            TOKEN,
            200,
            f"{ALIAS} is release 2.3.8+rev2, because it is the greatest",
        ),
        (TOKEN, 200, f"commit is {COMMIT}, and its image is stored at {LOCATION}."),
        (TOKEN, 200, "it took 0.250 s. Next the client asks for the manifest"),
        ({**TOKEN, "alias": None, "aliases": []}, 200, "so the key is good"),
        ({**TOKEN, "login": "new"}, 200, "with a login that is not known."),
        (REFUSED, 200, "org/gone was refused: there is none."),
        (REFUSED, 200, "for the manifest next, and is told the reason there"),
        (DENIED, 200, "There was no login: if the application is private"),
        ({**DENIED, "login": "key"}, 200, "the application does not exist for it"),
        ({**DENIED, "kind": "manifest"}, 403, "The token request before this one"),
        ({**TOKEN, **UNAUTHORIZED, "message": "no"}, 401, "with status 401: no. The"),
        ({**TOKEN, **UNAUTHORIZED}, 401, "Log in again"),
        ({**BLOB, **UNAUTHORIZED}, 401, "The registry did not take the token"),
        (BLOB, 200, "after 0.250 s and sent 12.3 MB; all of it took 1.500 s."),
        (BLOB, 304, "The client has it already"),
        ({**BLOB, "storage": "s.example"}, 200, "redirected it to s.example, and the"),
        ({**BLOB, "storage": "s"}, 200, "The storage began to answer after 0.250 s"),
        ({**BLOB, "warning": "ignored"}, 200, "told beside the answer: ignored."),
        ({**BLOB, "outcome": "challenged"}, 401, "was told to get one at the proxy."),
        (MANIFEST, 200, "Next the client asks for the blobs"),
        (BY_TAG, 200, "The tag 2.3 selected that one, because it is the greatest"),
        (
            {**OWN, "kind": "resolution"},
            200,
            "asked the API for org/app, as the",
        ),
        ({**OWN, "kind": "choice"}, 404, "this release of org/app has what the client"),
        ({**OWN, "kind": "grant"}, 404, "It answered with status 404 after 0.250 s."),
        ({**OWN, "kind": "grant", "failure": "x"}, 0, "no answer after 0.250 s: x."),
        ({"kind": "other", "path": "/x", "outcome": "refused"}, 404, "asked for /x."),
        ({**BLOB, "outcome": None}, 200, "It is not answered yet."),
        ({"kind": "later", "path": "/x"}, 200, "asked for /x. It is not answered yet."),
        (None, 200, FOREIGN),
    ],
)
def test_flow_is_explained(state: State | None, status: int, sentence: str) -> None:
    """Each kind and each end has sentences of its own, as far as all is known."""
    assert sentence in explained(state, status)


@pytest.mark.parametrize(
    ("cache", "sentence"),
    [
        ("hit", "the API was not asked"),
        ("miss", "The API was asked"),
        ("shared", "Another client was just asking"),
        ("stale", "served beyond its time"),
        ("later", "It was looked up."),
    ],
)
def test_token_says_where_the_release_is_known_from(cache: str, sentence: str) -> None:
    """What was remembered is told from what was asked."""
    assert sentence in explained({**TOKEN, "aliases": [{**FOUND, "cache": cache}]})


def test_each_alias_of_a_token_is_explained() -> None:
    """Two found and one refused, and what tags select: each with what is its own."""
    other = {**FOUND, "alias": "org/other", "release": "7.0.0", "tagged": 20}
    text = explained({**REFUSED, "aliases": [FOUND, other, NONE]})
    assert f"{ALIAS} is release 2.3.8+rev2, because it is" in text
    assert "org/other is release 7.0.0, because it is" in text
    assert "more releases, which tags select: 20 of org/other." in text
    assert "org/gone was refused: there is none." in text
    assert "selected" not in explained({**MANIFEST, "aliases": [FOUND]})


def test_redirect_names_the_storage() -> None:
    """The bytes come from there, past the proxy."""
    text = explained(BLOB, 307, location="https://storage.example/blob?signature=x")
    assert "redirected it to storage.example: the bytes go from there" in text
    assert "signature" not in text


def test_head_shows_nobody_a_message() -> None:
    """What the client does with a manifest, or without it, depends on the method."""
    assert "by its digest, unless it has it" in explained(MANIFEST, method="HEAD")
    refused = {**MANIFEST, "outcome": "refused", "message": "none"}
    assert "An answer to HEAD has no body" in explained(refused, 404, "HEAD")
    assert "The client shows this and gives up." in explained(refused, 404)


@pytest.mark.parametrize(
    ("kind", "outcome", "failure", "sentence"),
    [
        (Kind.BLOB, Outcome.FAILED, "refused", "registry did not answer, or not to"),
        (Kind.BLOB, Outcome.FAILED, "refused", "docker and containerd go on where"),
        (Kind.MANIFEST, Outcome.FAILED, "refused", "The client was told so with 502"),
        (Kind.BLOB, Outcome.ABORTED, "disconnected", "The client went away"),
        (Kind.BLOB, Outcome.FAILED, "", "Clients try a few times"),
        (Kind.BLOB, Outcome.LIMITED, "", "Clients try a few times"),
    ],
)
def test_failure_says_whose(
    kind: Kind, outcome: Outcome, failure: str, sentence: str
) -> None:
    """Registry, client or rate: each has its own sentence."""
    state = {**BLOB, "kind": str(kind), "outcome": str(outcome), "failure": failure}
    assert sentence in explained(state, 503)


def test_flow_that_broke_before_its_record_ended() -> None:
    """The error is mitmproxy's, where the proxy had no time to note one."""
    flow = flow_with({"kind": "blob", "alias": ALIAS})
    flow.error = Error("closed")
    assert explain(flow)[-1] == "It ended here: closed."


@pytest.mark.parametrize("kind", [*Kind, *OwnKind])
@pytest.mark.parametrize("login", [None, *Login])
def test_every_kind_is_explained(kind: str, login: str | None) -> None:
    """A flow of this proxy has a sentence, however little is known of it."""
    assert explained({"kind": str(kind), "login": login}).endswith(".")
