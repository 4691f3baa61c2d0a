"""What a flow says of itself: a comment in words, a mark, and facts."""

from dataclasses import dataclass, field

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story import words
from mitm.story.fact import Fact, read
from mitm.story.record import KnownRelease, Login, Record
from resolver import errors
from resolver.grammar import endpoint
from resolver.grammar.reference import Location, parse_alias
from resolver.release.release import parse_releases
from resolver.release.resolution import Resolution
from resolver.upstream.observer import CacheState
from tests.resolver.fake import COMMIT, LOCATION, release_row

ALIAS = "org/app/2.3"
MANIFEST = f"/v2/{ALIAS}/manifests/latest"
BLOB = f"/v2/{ALIAS}/blobs/sha256:{'ab' * 32}"
TAGGED = "/v2/org/app/manifests/2.3"
KNOWN = KnownRelease("2.3.8+rev2", "2", COMMIT)
MISSING = errors.ReleaseUnknown("org/app has no release 9.9.9")


def resolution(name: str = ALIAS) -> Resolution:
    """Return what the alias stands for."""
    (release,) = parse_releases({"d": [release_row()]})
    location = Location(LOCATION)
    alias = parse_alias(name)
    return Resolution(alias, release, release.images[0], location, "the only one")


@dataclass
class Case:
    """A request that is over, and its comment."""

    comment: str
    path: str = MANIFEST
    status: int | None = 200
    body: bytes = b"12345"
    method: str = "GET"
    known: dict[str, object] = field(default_factory=dict)
    is_marked: bool = False


CASES = {
    "ping": Case("ping: told the client to get a token here", "/v2/", 401),
    "ping with a token": Case(
        "ping: the registry is there", "/v2/", known={"has_token": True}
    ),
    "health check": Case("health check: alive", "/ping"),
    "token": Case(
        f"token for {ALIAS} → 2.3.8+rev2 (commit b4b201f) → v2/567e…",
        "/auth/v1/token",
        known={"resolutions": (resolution(),), "states": {ALIAS: CacheState.MISS}},
    ),
    "token with a refusal": Case(
        f"token for {ALIAS} → 2.3.8+rev2 (commit b4b201f) → v2/567e…; refused:"
        " org/app has no release 9.9.9",
        "/auth/v1/token",
        known={
            "resolutions": (resolution(),),
            "refusals": {"org/app/9.9.9": MISSING},
        },
    ),
    "refusal": Case(
        "refused: org/app has no release 9.9.9",
        "/auth/v1/token",
        known={"refusals": {"org/app/9.9.9": MISSING}},
        is_marked=True,
    ),
    "token whose tags select": Case(
        "token for org/app → 2.3.8+rev2 (commit b4b201f) → v2/567e…; 20 releases of"
        " org/app to select by tag",
        "/auth/v1/token",
        known={"resolutions": (resolution("org/app"),), "tagged": {"org/app": 20}},
    ),
    "token for tags alone": Case(
        "7 releases of org/app to select by tag",
        "/auth/v1/token",
        known={"tagged": {"org/app": 7}},
    ),
    "login": Case(
        "login: the API accepts the key", "/auth/v1/token", known={"login": Login.KEY}
    ),
    "nobody": Case("token without a login, for no repository", "/auth/v1/token"),
    "token for a location": Case(
        "token for resin/app", "/auth/v1/token", known={"alias": "resin/app"}
    ),
    "wrong key": Case(
        "refused: this key is wrong",
        "/auth/v1/token",
        401,
        known={"error": errors.CredentialRejected("this key is wrong")},
        is_marked=True,
    ),
    "api down": Case(
        "failed: the API is down",
        "/auth/v1/token",
        503,
        known={"error": errors.ServiceUnavailable("the API is down")},
        is_marked=True,
    ),
    "manifest": Case(
        f"manifest of {ALIAS} (2.3.8+rev2), 5 bytes", known={"release": KNOWN}
    ),
    "manifest by tag": Case(
        "manifest of org/app:2.3 → 2.3.8+rev2, 5 bytes",
        TAGGED,
        known={"release": KNOWN, "tag": "2.3", "because": "the greatest"},
    ),
    "tag that selects nothing": Case(
        "refused: org/app has no release 9.9.9",
        TAGGED,
        404,
        known={"error": errors.TagUnknown("org/app has no release 9.9.9")},
        is_marked=True,
    ),
    "manifest by HEAD": Case(f"manifest of {ALIAS}: it is there", method="HEAD"),
    "manifest without a token": Case(
        f"manifest latest of {ALIAS}: told the client to get a token here", status=401
    ),
    "refused manifest": Case(
        "refused: org/app has no release 9.9.9",
        status=404,
        known={"error": MISSING},
        is_marked=True,
    ),
    "manifest that the registry does not have": Case(
        f"refused: manifest latest of {ALIAS}: manifest\\nunknown",
        status=404,
        body=errors.error_body(errors.ErrorCode.NAME_UNKNOWN, "manifest\nunknown"),
        is_marked=True,
    ),
    "registry fails": Case(
        f"failed: manifest latest of {ALIAS}: 502",
        status=502,
        known={"is_forwarded": True},
        is_marked=True,
    ),
    "blob": Case(f"blob 5 bytes of {ALIAS}, streamed", BLOB),
    "blob from a storage": Case(
        f"blob 5 bytes of {ALIAS}, from the storage",
        BLOB,
        known={"storage": "storage.example"},
    ),
    "part of a blob": Case(f"part of a blob 5 bytes of {ALIAS}, streamed", BLOB, 206),
    "redirect": Case(
        f"blob sha256:abababababab of {ALIAS}, redirected to the storage", BLOB, 307
    ),
    "blob that the client has": Case(
        f"blob sha256:abababababab of {ALIAS}: the client has it already", BLOB, 304
    ),
    "manifest that the client has": Case(
        f"manifest of {ALIAS}: the client has it already", status=304
    ),
    "ignored tag": Case(
        f"manifest of {ALIAS}, 5 bytes; its tag is ignored", known={"warning": "it is"}
    ),
    "signature that is not there": Case(
        f"refused: manifest sha256-{'ab' * 32}.sig of {ALIAS}: 404",
        f"/v2/{ALIAS}/manifests/sha256-{'ab' * 32}.sig",
        404,
    ),
    "blob that is asked about": Case(
        f"refused: blob sha256:abababababab of {ALIAS}: 404", BLOB, 404, method="HEAD"
    ),
    "not ready": Case("failed: health check: 503", "/ready", 503, is_marked=True),
    "rate": Case(
        f"refused: manifest latest of {ALIAS}: 429", status=429, is_marked=True
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_comment_says_how_it_ended(case: Case) -> None:
    """One line in words, and a mark on what was refused or failed."""
    flow, record = begun(case)
    assert case.status is not None
    flow.response = http.Response.make(case.status, case.body)
    record.answered(flow.response, is_head=case.method == "HEAD")
    words.tell(flow, record)
    assert (flow.comment, bool(flow.marked)) == (case.comment, case.is_marked)


@pytest.mark.parametrize(
    ("is_client_there", "comment"),
    [
        (True, f"failed: blob sha256:abababababab of {ALIAS}: it broke"),
        (False, f"blob sha256:abababababab of {ALIAS}: the client went away"),
    ],
)
def test_broken_transfer_says_whose_fault_it_is(
    *, is_client_there: bool, comment: str
) -> None:
    """A registry that breaks off is a failure; a client that goes away is none."""
    flow, record = begun(Case("", BLOB, known={"is_forwarded": True}))
    record.broken("it broke", is_client_there=is_client_there)
    words.tell(flow, record)
    assert (flow.comment, bool(flow.marked)) == (comment, is_client_there)
    assert read(flow)[Fact.FAILURE] == "it broke"


def test_flow_that_waits_says_for_what() -> None:
    """Nobody has to guess what is under way."""
    flow, _ = begun(Case("", "/auth/v1/token", known={"alias": ALIAS}))
    assert flow.comment == f"token for {ALIAS}: waiting for an answer"
    assert Fact.OUTCOME not in read(flow)


def test_facts_are_plain_and_in_order() -> None:
    """A token for two aliases has the facts of both, which can be saved."""
    names = [ALIAS, "org/other"]
    flow, record = begun(
        Case(
            "",
            "/auth/v1/token",
            known={
                "resolutions": tuple(resolution(name) for name in names),
                "states": dict.fromkeys(names, CacheState.HIT),
                "api_seconds": 0.25,
            },
        )
    )
    flow.response = http.Response.make(200, b"12345")
    record.answered(flow.response, is_head=False)
    words.tell(flow, record)
    facts = read(flow)
    assert facts[Fact.ALIAS] == "org/app/2.3, org/other"
    assert facts[Fact.SELECTOR] == "2.3, "
    assert facts[Fact.RELEASE] == "2.3.8+rev2, 2.3.8+rev2"
    assert facts[Fact.REVISION] == "2, 2"
    assert facts[Fact.LOCATION] == f"{LOCATION}, {LOCATION}"
    assert facts[Fact.CACHE] == "hit, hit"
    assert (facts[Fact.BYTES], facts[Fact.API_SECONDS]) == (5, 0.25)
    assert {type(value) for value in flow.metadata.values()} <= {str, int, float}
    assert flow.metadata[Fact.PATH] == "/auth/v1/token"


def test_tag_is_the_selector_of_a_manifest() -> None:
    """Where tags select, a flow says which tag became which release, and why."""
    known = {"release": KNOWN, "tag": "2.3", "because": "the greatest"}
    flow, record = begun(Case("", TAGGED, known=known))
    flow.response = http.Response.make(200, b"12345")
    record.answered(flow.response, is_head=False)
    words.tell(flow, record)
    facts = read(flow)
    assert (facts[Fact.SELECTOR], facts[Fact.RELEASE]) == ("2.3", "2.3.8+rev2")
    assert facts[Fact.REASON] == "the greatest"


def begun(case: Case) -> tuple[http.HTTPFlow, Record]:
    """Return a flow of which it is known what it asks for."""
    flow = tflow.tflow()
    record = Record("3f2a", ("192.0.2.7", 1), case.method, case.path, case.path)
    record.aim(endpoint.parse_target(case.method, case.path))
    for name, value in case.known.items():
        setattr(record, name, value)
    words.begin(flow, record)
    return flow, record
