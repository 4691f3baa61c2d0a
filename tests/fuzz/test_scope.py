"""Whatever a client asks a token for, the proxy asks for that or for less."""

from urllib.parse import parse_qs, parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import AliasInvalid, GrantUnsupported, Refusal, RequestInvalid
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
from tests.resolver.fake import HASH, LOCATION, basic, jwt

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
        found = parse_token_query(query, None)
    except RequestInvalid as error:
        check_shown(error)
        assert len(words(query)) > SCOPES_MAX or query.count("&") >= FORM_FIELDS_MAX
        return
    assert found.credential == ANONYMOUS
    assert len(found.scopes) <= SCOPES_MAX
    texts = [str(scope) for scope in found.scopes]
    assert {text.partition(":")[2] for text in texts} <= words(query)
    assert parse_scopes([" ".join(texts)]) == tuple(dict.fromkeys(found.scopes))
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


TYPES = mutated(
    st.sampled_from(["application/x-www-form-urlencoded; charset=utf-8", "text/plain"]),
    (";", " ", "X"),
)
SECRET = f"made-up-{HASH}"
FIELDS = st.lists(
    st.sampled_from(
        [
            *("grant_type=password", "grant_type=refresh_token", "username=u%3A", "&"),
            *(f"password={SECRET}", f"refresh_token={SECRET}", "username=%C3%BC"),
            *("scope=repository:o/a:pull", "scope=repository%3Ao%2Fa%3Apull+x", "=="),
        ]
    ),
    max_size=8,
).map("&".join)


@given(st.none() | TYPES, mutated(FIELDS, PIECES) | WIRE)
@FUZZ
def test_form_is_read_or_refused(content_type: str | None, text: str) -> None:
    """A form becomes a login with its own user and password, or is refused (R5)."""
    body = text.encode("utf-8", "surrogateescape")
    try:
        found = parse_token_form(content_type, body)
    except (GrantUnsupported, RequestInvalid) as error:
        check_shown(error, SECRET)
        return
    form = parse_qs(body.decode(), keep_blank_values=True)
    assert form["grant_type"][0] == "password"
    assert SECRET not in repr(found)
    user, password = (form.get(name, [""])[0] for name in ("username", "password"))
    expected = basic(user, password) if user or password else None
    assert found.credential.authorization == expected
