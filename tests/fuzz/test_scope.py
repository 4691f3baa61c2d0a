"""Whatever a client asks a token for, the proxy asks for that or for less."""

from urllib.parse import parse_qs, parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import AliasInvalid, Refusal, RequestInvalid
from resolver.grammar.credential import ANONYMOUS, parse_authorization
from resolver.grammar.reference import is_stored_name, parse_alias
from resolver.grammar.scope import SCOPES_MAX, Scope, parse_scopes
from resolver.token.claims import append_aliases, parse_token
from resolver.token.service import (
    FORM_FIELDS_MAX,
    parse_token_form,
    parse_token_query,
)
from resolver.token.suffix import Aliases
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import LOCATION, basic, jwt

PIECES = (
    *("repository:", "registry:catalog:*", ":", "::", ",", ",push", "*", "(plugin)"),
    *(" ", "\t", "\n", "\x85", "\u2003", "\0", "+", "%20", "%", "%ff", "&scope=", "\r"),
    *("&", "=", ";", "\udcff", "é", "/", "..", "@", LOCATION, "a" * 260, "scope=", "'"),
)
SCOPES = st.sampled_from(
    [
        *("repository:org/app/2.3.8:pull", "repository:org/app:pull,push", ""),
        *(f"repository:{LOCATION}:pull", "repository:resin/resinos:pull", "a:b:c"),
        *("repository:localhost:8080/org/app:pull", "repository(plugin):o/a:*,pull"),
        *("repository:alpine:pull", "registry:catalog:*", "repository:a:pull,delete"),
    ]
)
VALUES = mutated(st.lists(SCOPES, max_size=4).map(" ".join), PIECES)
MANY = st.integers(0, 40).map(lambda n: [f"repository:o/a{i}:pull" for i in range(n)])
QUERIES = st.one_of(
    mutated(
        st.lists(st.tuples(st.sampled_from(["scope", "service"]), SCOPES)).map(
            urlencode
        ),
        PIECES,
    ),
    MANY.map(lambda scopes: urlencode({"scope": scopes}, doseq=True)),
    st.integers(0, 80).map(lambda count: "&".join(["scope="] * count)),
    WIRE,
)


def words(query: str) -> set[str]:
    """Return the scopes that stand in a query, each without its type."""
    text = query.encode(errors="replace").decode()
    values = parse_qs(text).get("scope", [])
    return {word.partition(":")[2] for value in values for word in value.split()}


@given(QUERIES)
@FUZZ
def test_scopes_are_among_those_asked(query: str) -> None:
    """A scope that comes out was asked for, once, and is read again as it is (R3)."""
    try:
        request = parse_token_query(query, None)
    except RequestInvalid as error:
        check_shown(error)
        assert len(words(query)) > SCOPES_MAX or query.count("&") >= FORM_FIELDS_MAX
        return
    assert request.credential == ANONYMOUS
    assert len(request.scopes) <= SCOPES_MAX
    texts = [str(scope) for scope in request.scopes]
    assert {text.partition(":")[2] for text in texts} <= words(query)
    assert parse_scopes([" ".join(texts)]) == tuple(dict.fromkeys(request.scopes))
    sent = urlencode([("scope", text) for text in texts])
    assert [value for _, value in parse_qsl(sent)] == texts


@given(st.lists(VALUES, max_size=3) | MANY)
@FUZZ
def test_scopes_come_in_any_parting(values: list[str]) -> None:
    """Repeated, joined, as a query and as a form the scopes are the same (R3, R5)."""
    login = {"grant_type": "password", "username": "u", "password": "p"}
    try:
        expected = parse_scopes(values)
    except RequestInvalid as error:
        check_shown(error)
        return
    assert parse_scopes([" ".join(values)]) == expected
    query = urlencode({"scope": values}, doseq=True, errors="replace")
    asked = parse_token_query(query, None).scopes
    form = parse_token_form(
        "application/x-www-form-urlencoded", f"{query}&{urlencode(login)}".encode()
    )
    assert form.scopes == asked
    assert form.credential == parse_authorization(basic("u", "p"))
    assert len(asked) == len(expected)
    for scope, sent in zip(asked, expected, strict=True):
        assert scope == Scope(sent.name.encode(errors="replace").decode(), sent.actions)


@given(QUERIES)
@FUZZ
def test_refused_names_leave_the_token_readable(query: str) -> None:
    """No name that is asked for spoils the token that carries its refusal (R3, R8)."""
    try:
        scopes = parse_token_query(query, None).scopes
    except RequestInvalid:
        return
    refusals: dict[str, Refusal] = {}
    for scope in scopes:
        try:
            if not is_stored_name(scope.name):
                parse_alias(scope.name)
        except AliasInvalid as error:
            check_shown(error)
            refusals[scope.name] = error
    read = parse_token(append_aliases(jwt(), Aliases({}, refusals))).aliases.refusals
    assert read.keys() <= refusals.keys()
    assert len(read) > 3 or all(name in read for name in refusals if len(name) < 256)
    for name, refusal in read.items():
        assert refusals[name].message.startswith(refusal.message)
