"""How a request ended, as log and metrics have it."""

import pytest
from mitmproxy import http

from mitm.story import log_line
from mitm.story.record import Kind, KnownRelease, Outcome, Record
from resolver import errors
from resolver.grammar import endpoint
from resolver.grammar.reference import Location

LOCATION = Location("v2/567e62d1e73529e7a31757ac1f3fb902")
DIGEST = "sha256:" + "ab" * 32
DOWN = errors.ServiceUnavailable("down")


def record(path: str = "/v2/org/app/manifests/1", **known: object) -> Record:
    """Return the record of a GET of which this is known."""
    made = Record("3f2a9c1b-0000", ("192.0.2.7", 1), "GET", path)
    made.aim(endpoint.parse_target("GET", path))
    for name, value in known.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("known", "status", "outcome"),
    [
        ({}, 200, Outcome.SERVED),
        ({}, 307, Outcome.SERVED),
        ({}, 401, Outcome.CHALLENGED),
        ({"error": errors.ScopeInsufficient("no")}, 401, Outcome.CHALLENGED),
        ({"error": errors.CredentialRejected("no")}, 401, Outcome.UNAUTHORIZED),
        ({"has_token": True}, 401, Outcome.UNAUTHORIZED),
        ({"error": errors.AccessDenied("no")}, 403, Outcome.REFUSED),
        ({"refusals": {"a/b": errors.AccessDenied("no")}}, 200, Outcome.REFUSED),
        ({"tagged": {"a/b": 3}}, 200, Outcome.SERVED),
        ({"error": errors.TagUnknown("no")}, 404, Outcome.REFUSED),
        ({}, 416, Outcome.REFUSED),
        ({}, 429, Outcome.LIMITED),
        ({"error": DOWN}, 503, Outcome.FAILED),
        ({"is_forwarded": True}, 502, Outcome.FAILED),
    ],
)
def test_outcome_of_an_answer(
    known: dict[str, object], status: int, outcome: Outcome
) -> None:
    """Status and cause together tell what to do about it."""
    over = record()
    for name, value in known.items():
        setattr(over, name, value)
    over.answered(http.Response.make(status, b"body"), is_head=False)
    assert over.outcome is outcome
    assert over.size == 4
    assert (over.reason is not None) == bool(known.get("is_forwarded"))


@pytest.mark.parametrize(
    ("is_forwarded", "is_client_there", "outcome"),
    [
        (True, True, Outcome.FAILED),
        (True, False, Outcome.ABORTED),
        (False, True, Outcome.ABORTED),
    ],
)
def test_outcome_without_an_answer(
    *, is_forwarded: bool, is_client_there: bool, outcome: Outcome
) -> None:
    """The registry is to blame only for what it was asked, with somebody waiting."""
    over = record(is_forwarded=is_forwarded)
    over.broken("closed", is_client_there=is_client_there)
    assert over.outcome is outcome
    assert (over.reason is not None) == (outcome is Outcome.FAILED)


@pytest.mark.parametrize(
    ("path", "kind", "subject"),
    [
        ("/v2/", Kind.BASE, "/v2/"),
        ("/auth/v1/token", Kind.TOKEN, "/auth/v1/token"),
        ("/v2/org/app/2/manifests/1", Kind.MANIFEST, "manifest 1 of org/app/2"),
        (
            f"/v2/org/app/blobs/{DIGEST}",
            Kind.BLOB,
            "blob sha256:abababababab of org/app",
        ),
        ("/v2/org/app/tags/list", Kind.TAGS, "tags of org/app"),
        (f"/v2/{LOCATION}/tags/list", Kind.TAGS, "tags of v2/567e..."),
    ],
)
def test_subject_is_in_words(path: str, kind: Kind, subject: str) -> None:
    """What is asked for, without a whole location."""
    over = record(path)
    assert (over.kind, over.subject) == (kind, subject)


def test_line_of_a_token_whose_tags_select() -> None:
    """Without a target release it says so, and that tags select all the same."""
    over = record("/auth/v1/token", tagged={"org/app": 7})
    over.answered(http.Response.make(200, b"body"), is_head=False)
    assert "token: org/app has no target, 7 to select by tag, in" in (
        log_line.describe(over)
    )


def test_line_and_facts_have_no_whole_location() -> None:
    """The beginning tells two apart; more is nobody's business (R15)."""
    over = record(
        location=LOCATION,
        release=KnownRelease("2.3.8", "0", "b4b201f"),
        is_forwarded=True,
    )
    over.answered(http.Response.make(200, b"body"), is_head=False)
    over.seconds = 0.25
    line = log_line.describe(over)
    assert line == (
        "GET manifest 1 of org/app: 200, release 2.3.8, 4 bytes in 0.250 s [3f2a9c1b]"
    )
    assert LOCATION not in line + str(log_line.facts(over))
    assert log_line.facts(over)["location"] == "v2/567e..."


def test_ignored_tag_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Who reads the log sees that a tag was ignored, and what would select it (R9)."""
    over = record(warning="the tag 2.3 selects nothing and is ignored: pull a/b/2.3")
    over.answered(http.Response.make(200, b""), is_head=False)
    log_line.write(over)
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert "the tag 2.3 selects nothing and is ignored" in line.message
