"""Whatever was seen, no rule breaks: what it judges was written by others."""

from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cause.evidence import Evidence
from cause.finding import Role
from cause.judge import RULES
from resolver.errors import ErrorCode
from resolver.grammar.timestamp import SECONDS_MAX
from resolver.symptom import Symptom
from tests.cause.sample import ACCESS, CERTIFICATE, CHALLENGE, NETWORK, OWN_NAMES
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import JSON

NOW = 1_700_000_000.0
SAMPLES = [*NETWORK.values(), *ACCESS.values(), *OWN_NAMES.values()]
KINDS = ["base", "token", "manifest", "blob", "tags", "referrers", "catalog", "other"]
_NAMES = st.sampled_from(["r.example", "[::1]:5000", "docker.io", "a:b:c", "[", ""])
_TEXTS = _NAMES | st.text(max_size=30)
_MOMENTS = st.floats(0, SECONDS_MAX - 1) | st.integers(0, SECONDS_MAX - 1)
_URLS = st.sampled_from(["http://[", "https://u:p@h/x?y", "//", "http://h:99999/"])
_CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "iat": JSON | _MOMENTS,
        "nbf": JSON | _MOMENTS,
        "exp": JSON | _MOMENTS,
        "aud": JSON,
        "iss": JSON,
        "sub": JSON,
        "access": JSON,
    },
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("content-type", "content-encoding", "www-authenticate", "retry-after"),
            *("transfer-encoding", "server", "accept", "accept-encoding", "date"),
        ]
    ),
    st.sampled_from([CHALLENGE, "text/html; x", "gzip", "Bearer", "\xb2", ""])
    | st.text(max_size=30),
)
_BODIES = st.sampled_from(
    [
        *(b"<html>nginx", b"<Error><Code>x</Code><Message>only one auth mechanism"),
        *(b'{"errors":[{"code":1,"message":null}]}', b"header field", b"[" * 3000),
    ]
) | st.binary(max_size=60)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "role": st.none() | st.sampled_from(Role),
    "host": _TEXTS,
    "kind": st.sampled_from(KINDS),
    "name": _TEXTS,
    "method": st.sampled_from(["GET", "HEAD", "PUT", "x"]),
    "request": _HEADERS,
    "status": st.none() | st.integers(0, 1000),
    "headers": _HEADERS,
    "body": _BODIES,
    "failure": _TEXTS,
    "is_client_gone": st.booleans(),
    "seconds": st.none() | st.floats(0, 1e9),
    "claims": _CLAIMS,
    "pullable": st.none() | st.frozensets(_TEXTS, max_size=3),
    "login": st.sampled_from(["", "none", "key", "token"]),
    "code": st.sampled_from(ErrorCode) | _TEXTS,
    "message": _TEXTS,
    "symptom": st.none() | st.sampled_from(Symptom),
    "words": _TEXTS,
    "certificate": st.sampled_from([None, CERTIFICATE]),
    "proxy": _TEXTS,
    "patience": st.none() | st.floats(0, 1e9),
    "has_begun": st.booleans(),
    "is_endless": st.booleans(),
    "is_unreadable": st.booleans(),
    "least_rate": _TEXTS,
    "digest": _TEXTS,
    "body_digest": _TEXTS,
    "led_to": _TEXTS,
    "is_back": st.booleans(),
    "realm": _URLS | _TEXTS,
    "is_like_key": st.none() | st.booleans(),
    "path": st.sampled_from(["/v1/search", "/v2/_catalog", "/v2/x"]) | _TEXTS,
    "reference": _TEXTS,
    "location": st.sampled_from([f"v2/{'0' * 32}", "v2/x"]) | _TEXTS,
    "namespace": _TEXTS,
    "client_scheme": st.sampled_from(["", "http", "https"]),
    "token_length": st.integers(0, 100_000),
    "registry": _TEXTS,
    "api": _TEXTS,
    "has_own_names": st.booleans(),
    "clocks": st.dictionaries(
        st.sampled_from(Role), _MOMENTS.map(lambda moment: moment - NOW)
    ),
}
"""Each field of it, as anybody could have it become."""


def test_each_field_is_tried() -> None:
    """A field that is added is tried as well."""
    assert {*_FIELDS, "now"} == {*Evidence.__dataclass_fields__}


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    """Return what was seen in a case with a name, but for some of it."""
    names = draw(st.sets(st.sampled_from(sorted(_FIELDS)), max_size=len(_FIELDS)))
    changes = {name: draw(_FIELDS[name]) for name in sorted(names)}
    return replace(draw(st.sampled_from(SAMPLES)), **changes, now=NOW)


@given(evidence())
@example(replace(ACCESS["realm without TLS"], realm="http://["))
@example(replace(ACCESS["clock of the API"], clocks={Role.API: SECONDS_MAX - NOW}))
@FUZZ
def test_no_rule_breaks(seen: Evidence) -> None:
    """Each returns a sentence and an advice that a log can show, or nothing."""
    for rule in RULES:
        if found := rule(seen):
            assert found.sentence is not None
            assert found.advice
