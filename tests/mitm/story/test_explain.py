"""What happened to a flow, and what the client will do next, in sentences."""

from collections.abc import Mapping

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story.explain import FOREIGN, explain
from mitm.story.fact import Fact, OwnKind, Value, note
from mitm.story.record import Kind, Login, Outcome
from resolver.errors import ErrorCode
from resolver.upstream.observer import CacheState
from tests.resolver.fake import COMMIT, LOCATION

ALIAS = "org/app/2.3"
TOKEN: dict[Fact, Value] = {
    Fact.KIND: Kind.TOKEN,
    Fact.ALIAS: ALIAS,
    Fact.LOGIN: Login.NONE,
    Fact.OUTCOME: Outcome.SERVED,
    Fact.API_SECONDS: 0.25,
}
FOUND: dict[Fact, Value] = {
    **TOKEN,
    Fact.RELEASE: "2.3.8+rev2",
    Fact.COMMIT: COMMIT,
    Fact.LOCATION: LOCATION,
    Fact.REASON: "the greatest final release of 2.3.x",
    Fact.CACHE: CacheState.MISS,
}
REFUSED: dict[Fact, Value] = {
    **TOKEN,
    Fact.OUTCOME: Outcome.REFUSED,
    Fact.REFUSED: ALIAS,
    Fact.CODE: ErrorCode.NAME_UNKNOWN,
    Fact.MESSAGE: "there is no such release",
}
BLOB: dict[Fact, Value] = {
    Fact.KIND: Kind.BLOB,
    Fact.ALIAS: ALIAS,
    Fact.OUTCOME: Outcome.SERVED,
    Fact.BYTES: 12_300_000,
    Fact.SECONDS: 1.5,
    Fact.REGISTRY_SECONDS: 0.25,
}


def explained(
    facts: Mapping[Fact, Value], status: int = 200, location: str = ""
) -> str:
    """Return the explanation of a flow with these facts."""
    flow = tflow.tflow()
    headers = {"location": location} if location else {}
    flow.response = http.Response.make(status, b"", headers)
    note(flow, facts)
    return " ".join(explain(flow))


def test_foreign_flow_is_not_guessed_at() -> None:
    """What is not known is not told."""
    assert explained({}) == FOREIGN


def test_ping_leads_to_the_token_endpoint() -> None:
    """A challenge is no failure: the client goes on."""
    ping: dict[Fact, Value] = {Fact.KIND: Kind.BASE, Fact.OUTCOME: Outcome.CHALLENGED}
    assert explained(ping, 401).endswith(
        "Next it asks /auth/v1/token for a token, with its login if it has one."
    )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (CacheState.HIT, "the API was not asked"),
        (CacheState.MISS, "The API was asked"),
        (CacheState.SHARED, "Another client was just asking"),
        (CacheState.STALE, "served beyond its time"),
    ],
)
def test_token_says_what_was_found_and_whence(state: CacheState, said: str) -> None:
    """Release, commit, location, reason, cache, time, and the next step."""
    told = explained({**FOUND, Fact.CACHE: state})
    assert "without a login." in told
    assert f"{ALIAS} is release 2.3.8+rev2, because it is the greatest final" in told
    assert COMMIT in told
    assert LOCATION in told
    assert said in told
    assert "it took 0.250 s." in told
    assert told.endswith("Next the client asks for the manifest, with that token.")


def test_each_alias_of_a_token_is_explained() -> None:
    """Two found and one refused: each with what is its own."""
    several = {
        **FOUND,
        Fact.ALIAS: "org/app/2.3, org/other, org/gone",
        Fact.RELEASE: "2.3.8, 7.0.0",
        Fact.COMMIT: "aaa, bbb",
        Fact.LOCATION: "v2/a, v2/b",
        Fact.REASON: "first, second",
        Fact.CACHE: "hit, miss",
        Fact.REFUSED: "org/gone",
        Fact.MESSAGE: "there is none",
    }
    told = explained(several)
    assert "org/app/2.3 is release 2.3.8, because it is first." in told
    assert "org/other is release 7.0.0, because it is second." in told
    assert "org/gone was refused: there is none." in told


def test_login_of_another_version_is_not_known() -> None:
    """A file of an older or newer proxy is explained as far as it goes."""
    assert "with a login that is not known." in explained({**FOUND, Fact.LOGIN: "new"})


def test_tag_that_selected_is_explained() -> None:
    """A manifest of an alias without selector says what its tag did."""
    manifest = {
        **BLOB,
        Fact.KIND: Kind.MANIFEST,
        Fact.ALIAS: "org/app",
        Fact.SELECTOR: "2.3",
        Fact.LOCATION: LOCATION,
        Fact.RELEASE: "2.3.8+rev2",
        Fact.REASON: "the greatest final release of 2.3.x",
    }
    said = "The tag 2.3 selected that one, because it is the greatest final release"
    assert said in explained(manifest)
    assert "selected" not in explained({**manifest, Fact.ALIAS: ALIAS})


def test_token_whose_tags_select_is_explained() -> None:
    """It is for many releases, also where there is no target release."""
    said = "The token is for more releases, which tags select: 20 of org/app."
    for facts in (FOUND, TOKEN):
        assert said in explained({**facts, Fact.TAGGED: "20 of org/app"})
        assert said not in explained(facts)


def test_search_is_explained() -> None:
    """The proxy's own question where something is says what it was for."""
    search: dict[Fact, Value] = {
        Fact.KIND: OwnKind.CHOICE,
        Fact.ALIAS: "org/app",
        Fact.SECONDS: 0.25,
    }
    told = explained(search, 404)
    assert "whether this release of org/app has what the client wants." in told
    assert "It answered with status 404 after 0.250 s." in told


def test_refusal_says_where_the_client_meets_it() -> None:
    """The token request is 200; the reason comes with the manifest."""
    told = explained(REFUSED)
    assert f"{ALIAS} was refused: there is no such release." in told
    assert "it asks for the manifest next, and is told the reason there" in told


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (Login.NONE, "There was no login"),
        (Login.KEY, "the application does not exist for it"),
    ],
)
def test_private_application_depends_on_the_login(login: Login, said: str) -> None:
    """Without a login one helps; with one the name or the key is wrong."""
    denied = {**REFUSED, Fact.CODE: ErrorCode.DENIED, Fact.LOGIN: login}
    assert said in explained(denied)


def test_wrong_key_says_to_log_in_again() -> None:
    """The token endpoint's 401 is about the key."""
    wrong = {
        **TOKEN,
        Fact.LOGIN: Login.KEY,
        Fact.OUTCOME: Outcome.UNAUTHORIZED,
        Fact.CODE: ErrorCode.UNAUTHORIZED,
        Fact.MESSAGE: "these credentials are not accepted",
    }
    told = explained(wrong, 401)
    assert "refused with status 401: these credentials are not accepted." in told
    assert "Log in again" in told


def test_refused_token_is_not_taken_for_a_wrong_key() -> None:
    """A 401 of the registry is about the token, and the client gets another."""
    expired = {
        **BLOB,
        Fact.OUTCOME: Outcome.UNAUTHORIZED,
        Fact.CODE: ErrorCode.UNAUTHORIZED,
    }
    told = explained(expired, 401)
    assert "The registry did not take the token" in told
    assert "Log in again" not in told


def test_blob_says_how_much_and_how_long() -> None:
    """Size, time to the first byte, and time in all."""
    assert "after 0.250 s and sent 12.3 MB; all of it took 1.500 s." in explained(BLOB)


def test_redirect_names_the_storage() -> None:
    """The bytes come from there, past the proxy."""
    told = explained(BLOB, 307, "https://storage.example/blob?signature=x")
    assert "redirected it to storage.example: the bytes go from there" in told
    assert "signature" not in told


def test_blob_that_was_fetched_says_where() -> None:
    """The storage is named, and what it is that took so long."""
    told = explained({**BLOB, Fact.STORAGE: "storage.example"})
    assert "redirected it to storage.example, and the proxy fetched it" in told
    assert "The storage began to answer after 0.250 s" in told
    broken = {**BLOB, Fact.STORAGE: "s", Fact.OUTCOME: Outcome.FAILED}
    told = explained({**broken, Fact.FAILURE: "it broke"})
    assert "The storage did not answer, or not to the end: it broke." in told


@pytest.mark.parametrize(
    ("outcome", "failure", "said"),
    [
        (Outcome.FAILED, "connection refused", "did not answer, or not to the end"),
        (Outcome.ABORTED, "client disconnected", "The client went away"),
        (Outcome.FAILED, "", "Clients try a few times"),
        (Outcome.LIMITED, "", "Clients try a few times"),
    ],
)
def test_failure_says_whose(outcome: Outcome, failure: str, said: str) -> None:
    """Registry, client or rate: each has its own sentence."""
    failed = {**BLOB, Fact.OUTCOME: outcome, Fact.FAILURE: failure}
    assert said in explained(failed, 503)


def test_own_request_is_told_from_a_client_s() -> None:
    """A request of the proxy's own says for which alias it was made."""
    own: dict[Fact, Value] = {
        Fact.KIND: OwnKind.RESOLUTION,
        Fact.ALIAS: ALIAS,
        Fact.SECONDS: 0.25,
        Fact.OUTCOME: Outcome.SERVED,
    }
    told = explained(own)
    assert told.startswith(f"The proxy asked the API for {ALIAS}, as the client.")
    assert told.endswith("It answered with status 200 after 0.250 s.")


def test_flow_under_way_says_so() -> None:
    """What has no outcome is not over."""
    waiting: dict[Fact, Value] = {
        fact: value for fact, value in BLOB.items() if fact != Fact.OUTCOME
    }
    assert explained(waiting).endswith("It is not answered yet.")
