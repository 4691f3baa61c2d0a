"""What is said of a request: a comment in its flow, a mark, and a line in the log."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story import log_line, words
from mitm.story.log_format import JsonFormatter
from mitm.story.record import Login, Record
from resolver import errors
from resolver.upstream.observer import CacheState
from tests.mitm.story.sample import (
    ALIAS,
    BLOB,
    MANIFEST,
    RELEASE,
    TOKEN,
    request,
    token_answer,
)
from tests.resolver.fake import COMMIT, LOCATION

TAGGED = "/v2/org/app/manifests/2.3"
SIGNATURE = f"sha256-{'ab' * 32}.sig"
MISSING = errors.ReleaseUnknown("org/app has no release 9.9.9")
REFUSALS = {"org/app/9.9.9": MISSING}
NAMED = f"GET manifest latest of {ALIAS}"
IS_RELEASE = "2.3.8+rev2 (commit b4b201f)"


@dataclass
class Case:
    """A request that is over, its comment, and its line without id and time."""

    comment: str
    line: str
    path: str = MANIFEST
    status: int = 200
    body: bytes = b"12345"
    method: str = "GET"
    known: dict[str, Any] = field(default_factory=dict)
    is_marked: bool = False

    @property
    def record(self) -> Record:
        """The record of the request, before its end."""
        return request(self.path, self.method, **self.known)


CASES = {
    "ping": Case(
        "ping: told the client to get a token here", "GET /v2/: 401", "/v2/", 401
    ),
    "ping with a token": Case(
        "ping: the registry is there",
        "GET /v2/: 200",
        "/v2/",
        known={"has_token": True},
    ),
    "health check": Case("health check: alive", "GET /ping: 200", "/ping"),
    "not ready": Case(
        *("failed: health check: 503", "GET /ready: 503", "/ready", 503), is_marked=True
    ),
    "token": Case(
        f"token for {ALIAS} → {IS_RELEASE} → v2/567e…",
        f"GET {TOKEN}: {ALIAS} is {IS_RELEASE} -> v2/567e..., cache miss",
        TOKEN,
        known={"answer": token_answer(ALIAS, states={ALIAS: CacheState.MISS})},
    ),
    "token with a refusal": Case(
        f"token for {ALIAS} → {IS_RELEASE} → v2/567e…; refused: {MISSING}",
        f"GET {TOKEN}: {ALIAS} is {IS_RELEASE} -> v2/567e..., cache unknown; refused:"
        f" {MISSING}",
        TOKEN,
        known={"answer": token_answer(ALIAS, refusals=REFUSALS)},
    ),
    "refusal": Case(
        f"refused: {MISSING}",
        f"GET {TOKEN}: refused: {MISSING}",
        TOKEN,
        known={"answer": token_answer(refusals=REFUSALS)},
        is_marked=True,
    ),
    "token whose tags select": Case(
        f"token for org/app → {IS_RELEASE} → v2/567e…; 20 releases of org/app to select"
        " by tag",
        f"GET {TOKEN}: org/app is {IS_RELEASE} -> v2/567e..., 20 to select by tag,"
        " cache unknown",
        TOKEN,
        known={"answer": token_answer("org/app", tagged={"org/app": 20})},
    ),
    "token for tags alone": Case(
        "7 releases of org/app to select by tag",
        f"GET {TOKEN}: org/app has no target, 7 to select by tag",
        TOKEN,
        known={"answer": token_answer(tagged={"org/app": 7})},
    ),
    "login": Case(
        "login: the API accepts the key",
        f"GET {TOKEN}: 200",
        TOKEN,
        known={"login": Login.KEY},
    ),
    "nobody": Case(
        "token without a login, for no repository",
        f"GET {TOKEN}: 200",
        TOKEN,
        known={"login": Login.NONE},
    ),
    "token for a location": Case(
        "token for resin/app", f"GET {TOKEN}: 200", TOKEN, known={"alias": "resin/app"}
    ),
    "wrong key": Case(
        "refused: this key is wrong",
        f"GET {TOKEN}: 401 UNAUTHORIZED, this key is wrong",
        TOKEN,
        401,
        known={"error": errors.CredentialRejected("this key is wrong")},
        is_marked=True,
    ),
    "api down": Case(
        "failed: the API is down",
        f"GET {TOKEN}: 503 UNAVAILABLE, the API is down",
        TOKEN,
        503,
        known={"error": errors.ServiceUnavailable("the API is down")},
        is_marked=True,
    ),
    "manifest": Case(
        f"manifest of {ALIAS} (2.3.8+rev2), 5 bytes",
        f"{NAMED}: 200, release 2.3.8+rev2, 5 bytes",
        known={"is_sent": True, "release": RELEASE},
    ),
    "manifest by tag": Case(
        "manifest of org/app:2.3 → 2.3.8+rev2, 5 bytes",
        "GET manifest 2.3 of org/app: 200, release 2.3.8+rev2, 5 bytes",
        TAGGED,
        known={"is_sent": True, "release": RELEASE, "tag": "2.3"},
    ),
    "tag that selects nothing": Case(
        f"refused: {MISSING}",
        f"GET manifest 2.3 of org/app: 404 MANIFEST_UNKNOWN, {MISSING}",
        TAGGED,
        404,
        known={"error": errors.TagUnknown(MISSING.message)},
        is_marked=True,
    ),
    "manifest by HEAD": Case(
        f"manifest of {ALIAS}: it is there",
        f"HEAD manifest latest of {ALIAS}: 200",
        method="HEAD",
    ),
    "manifest without a token": Case(
        f"manifest latest of {ALIAS}: told the client to get a token here",
        f"{NAMED}: 401",
        status=401,
    ),
    "manifest that the registry does not have": Case(
        f"refused: manifest latest of {ALIAS}: manifest\\nunknown",
        f"{NAMED}: 404",
        status=404,
        body=errors.error_body(errors.ErrorCode.NAME_UNKNOWN, "manifest\nunknown"),
        is_marked=True,
    ),
    "manifest that the client has": Case(
        f"manifest of {ALIAS}: the client has it already", f"{NAMED}: 304", status=304
    ),
    "registry fails": Case(
        f"failed: manifest latest of {ALIAS}: 502",
        f"{NAMED}: 502, 5 bytes",
        status=502,
        known={"is_sent": True},
        is_marked=True,
    ),
    "rate": Case(
        f"refused: manifest latest of {ALIAS}: 429",
        f"{NAMED}: 429",
        status=429,
        is_marked=True,
    ),
    "ignored tag": Case(
        f"manifest of {ALIAS}, 5 bytes; its tag is ignored",
        f"{NAMED}: 200, the tag 2.3 is ignored",
        known={"warning": "the tag 2.3 is ignored"},
    ),
    "signature that is not there": Case(
        f"refused: manifest {SIGNATURE} of {ALIAS}: 404",
        f"GET manifest {SIGNATURE} of {ALIAS}: 404",
        f"/v2/{ALIAS}/manifests/{SIGNATURE}",
        404,
    ),
    "blob": Case(
        f"blob 5 bytes of {ALIAS}, streamed",
        f"GET blob sha256:abababababab of {ALIAS}: 200",
        BLOB,
    ),
    "blob from a storage": Case(
        f"blob 5 bytes of {ALIAS}, from the storage",
        f"GET blob sha256:abababababab of {ALIAS}: 200, from the storage",
        BLOB,
        known={"storage": "storage.example"},
    ),
    "part of a blob": Case(
        f"part of a blob 5 bytes of {ALIAS}, streamed",
        f"GET blob sha256:abababababab of {ALIAS}: 206",
        BLOB,
        206,
    ),
    "redirect": Case(
        f"blob sha256:abababababab of {ALIAS}, redirected to the storage",
        f"GET blob sha256:abababababab of {ALIAS}: 307",
        BLOB,
        307,
    ),
    "blob that the client has": Case(
        f"blob sha256:abababababab of {ALIAS}: the client has it already",
        f"GET blob sha256:abababababab of {ALIAS}: 304",
        BLOB,
        304,
    ),
    "blob that is asked about": Case(
        f"refused: blob sha256:abababababab of {ALIAS}: 404",
        f"HEAD blob sha256:abababababab of {ALIAS}: 404",
        BLOB,
        404,
        method="HEAD",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_words_say_how_it_ended(case: Case) -> None:
    """A comment and a line in words, and a mark on what was refused or failed."""
    flow, record = tflow.tflow(), case.record
    flow.response = http.Response.make(case.status, case.body)
    record.answered(flow.response, is_head=case.method == "HEAD")
    record.seconds = 0.25
    words.tell(flow, record)
    assert (flow.comment, bool(flow.marked)) == (case.comment, case.is_marked)
    start = f"{case.line} " if case.line.endswith("bytes") else f"{case.line}, "
    assert log_line.describe(record) == f"{start}in 0.250 s [3f2a9c1b]"
    stored = flow.metadata["balena"]
    assert Record.from_dict(stored).as_dict() == stored


@pytest.mark.parametrize(
    ("is_client_there", "storage", "comment", "line"),
    [
        (True, None, "failed: {}: it broke", "not answered by the registry, it broke"),
        (True, "s", "failed: {}: it broke", "not answered by the storage, it broke"),
        (False, None, "{}: the client went away", "the client went away, it broke"),
    ],
)
def test_broken_transfer_says_whose_fault_it_is(
    *, is_client_there: bool, storage: str | None, comment: str, line: str
) -> None:
    """A registry that breaks off is a failure; a client that goes away is none."""
    flow, record = tflow.tflow(), request(BLOB, is_sent=True, storage=storage)
    record.broken("it broke", is_client_there=is_client_there)
    words.tell(flow, record)
    assert flow.comment == comment.format(f"blob sha256:abababababab of {ALIAS}")
    assert bool(flow.marked) == is_client_there
    assert line in log_line.describe(record)


def test_flow_that_waits_says_for_what() -> None:
    """Nobody has to guess what is under way."""
    flow = tflow.tflow()
    words.begin(flow, request(TOKEN, alias=ALIAS))
    assert flow.comment == f"token for {ALIAS}: waiting for an answer"
    record = Record.read(flow)
    assert record
    assert (record.alias, record.outcome) == (ALIAS, None)


def answered(status: int = 200, **known: Any) -> Record:
    """Return the record of a request that was answered."""
    record = request(**known)
    record.answered(http.Response.make(status, b"12345"), is_head=False)
    record.seconds = 0.25
    return record


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (answered(), "INFO"),
        (answered(401), "DEBUG"),
        (answered(404), "WARNING"),
        (answered(warning="the tag 2.3 selects nothing and is ignored"), "WARNING"),
        (answered(path=TOKEN, answer=token_answer(refusals=REFUSALS)), "WARNING"),
        (answered(path="/ping"), "DEBUG"),
    ],
)
def test_line_has_the_level_of_its_outcome(
    record: Record, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who reads the log sees refusals, and that a tag was ignored (R9)."""
    caplog.set_level(logging.DEBUG)
    log_line.write(record)
    (line,) = caplog.records
    assert (line.levelname, line.message) == (level, log_line.describe(record))


def test_machines_get_facts_without_a_whole_location(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The beginning tells two apart; more is nobody's business (R15)."""
    caplog.set_level(logging.INFO)
    log_line.write(answered(is_sent=True, release=RELEASE))
    states = {ALIAS: CacheState.HIT, "org/app/9.9.9": CacheState.MISS}
    several = token_answer(ALIAS, refusals=REFUSALS, states=states)
    log_line.write(answered(path=TOKEN, answer=several))
    manifest, token = (
        json.loads(JsonFormatter().format(line)) for line in caplog.records
    )
    assert {name: manifest[name] for name in list(manifest)[3:]} == {
        "client": "192.0.2.7",
        "request_id": "3f2a9c1b-0000",
        "event": "manifest",
        "outcome": "served",
        "method": "GET",
        "status": 200,
        "alias": ALIAS,
        "release": "2.3.8+rev2",
        "location": "v2/567e...",
        "bytes": 5,
        "duration": 0.25,
    }
    found = {"alias": ALIAS, "release": "2.3.8+rev2", "commit": COMMIT}
    assert token["aliases"] == [
        {**found, "location": "v2/567e...", "cache": "hit"},
        {"alias": "org/app/9.9.9", "code": "NAME_UNKNOWN", "message": str(MISSING)},
    ]
    assert LOCATION not in str(token)
