"""Whatever a client sends is one of our endpoints and gets that, or less, or none."""

import base64
import re
from urllib.parse import parse_qs, parse_qsl, unquote_to_bytes, urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from requests.utils import check_header_validity

from resolver.content.forward import Forward, forward
from resolver.errors import (
    AliasInvalid,
    EndpointUnknown,
    MethodNotAllowed,
    NameInvalid,
    RequestInvalid,
)
from resolver.grammar.credential import ANONYMOUS, parse_authorization
from resolver.grammar.endpoint import (
    Base,
    Content,
    ContentKind,
    TokenEndpoint,
    parse_endpoint,
)
from resolver.grammar.reference import (
    is_stored_name,
    parse_alias,
    parse_reference,
)
from resolver.grammar.scope import SCOPES_MAX, parse_scopes
from resolver.grammar.selector import parse_selector
from resolver.token.claims import append_aliases
from resolver.token.request import FORM_FIELDS_MAX, parse_token_query
from resolver.token.suffix import Aliases
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import DIGEST, HASH, LOCATION, basic, fixed, jwt

PIECES = (
    *("/", "//", "..", "/../", "/./", "%", "%2e%2e", "%2F", "%00", "\\", "?", "#", ";"),
    *("&", "=", "+", "%ff", "%zz", "\udcff", "\udcc3", "é", "\0", "\n", "A", "_", "__"),
    *("-", ".", "v2", "/v2/", LOCATION, DIGEST, "sha512:", "a" * 130, "latest"),
    *("manifests", "/blobs/", "/tags/list", "?n=1&last=a", "?ns=docker.io", "resin/"),
)
NAMES = st.sampled_from(
    [
        *("org/app", "org/app/2.3.8", "org/app/2.3.8_rev1/main", "my_org/my--app/v2"),
        *(LOCATION, f"{LOCATION}-1", "resin/resinos", "library/a/b/c/d", "a", "v2/v2"),
        *("o/a/manifests/x", "a/tags", "_catalog", "a" * 200 + "/b", "org/app/a" * 30),
    ]
)
REFERENCES = st.sampled_from(
    ["latest", "2.3.8", "v1.0.0-rc.1", DIGEST, "sha512:" + "0" * 128, "A_b.c-d", "a:b"]
)
QUERIES = st.sampled_from(
    [
        *("", "?", "?n=1&last=a%2Fb", "?artifactType=a/b%2Bc&n=2&x=3", "?n", "?n="),
        *("?n=%ff&n=\udcff", "?ns=docker.io", "?last=a+b&last=%C3%A9é", "?scope=a"),
    ]
)
KINDS = st.sampled_from([*ContentKind, "uploads", ""])
PLACES = st.sampled_from(["/ping", "/ready", "/auth/v1/token", "/v2", "/v2/", "/"])
SOUND = st.one_of(
    st.builds("/v2/{}/{}/{}{}".format, NAMES, KINDS, REFERENCES, QUERIES),
    st.builds("/v2/{}/tags/list{}".format, NAMES, QUERIES),
    st.builds("{}{}".format, PLACES, QUERIES),
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT"]) | WIRE
PARAMETERS = {
    ContentKind.TAGS: {b"n", b"last"},
    ContentKind.REFERRERS: {b"artifactType", b"n", b"last"},
}
PATH = re.compile(r"/v2/[A-Za-z0-9][A-Za-z0-9._/:-]*")
QUERY = re.compile(r"[A-Za-z0-9_.~+%&=-]+")


def pairs(query: str) -> list[tuple[bytes, bytes]]:
    """Return the parameters of a query as the bytes that they stand for."""
    texts = query.replace("+", " ").encode("utf-8", "surrogateescape").split(b"&")
    split = (text.partition(b"=")[::2] for text in texts)
    return [(unquote_to_bytes(n), unquote_to_bytes(v)) for n, v in split if v]


@given(METHODS, mutated(SOUND, PIECES) | WIRE)
@FUZZ
def test_path_is_understood_or_refused(method: str, path: str) -> None:
    """What goes upstream is within the grammar, and exactly what was asked for."""
    asked, _, query = path.partition("?")
    try:
        endpoint = parse_endpoint(method, path)
    except (EndpointUnknown, MethodNotAllowed, NameInvalid) as error:
        check_shown(error)
        return
    assert method in ("GET", "HEAD") or isinstance(endpoint, TokenEndpoint)
    if isinstance(endpoint, Base):
        assert (endpoint.path, asked.rstrip("/")) == ("/v2/", "/v2")
    if not isinstance(endpoint, Content):
        return
    assert parse_endpoint(method, endpoint.path) == endpoint
    sent, _, parameters = endpoint.path.partition("?")
    assert sent == asked
    assert PATH.fullmatch(sent)
    assert not {"", ".", ".."} & set(sent.split("/")[1:])
    assert not parameters or QUERY.fullmatch(parameters)
    allowed = PARAMETERS.get(endpoint.kind, set())
    assert pairs(parameters) == [pair for pair in pairs(query) if pair[0] in allowed]


TAGS = mutated(
    st.sampled_from(
        ["2.3.8", "v2.3", "1.0.0-rc.1", "2.0.0-RC1", "2.x", "11e1ee2", "1.0.0_rev1"]
    ),
    ("-", "--", ".", "_", "a", "0", "-a", "9" * 12, "x" * 90),
)


@given(mutated(NAMES, ("/a", "/2", "a" * 60)), TAGS)
@example("org/app", "1.0.0--")
@example("org/app", "2.0.0-RC1")
@FUZZ
def test_recommended_name_can_be_pulled(name: str, tag: str) -> None:
    """Whatever a warning about a tag recommends is an alias, and asks for that (R9)."""
    try:
        alias = parse_alias(name)
        target = parse_endpoint("GET", f"/v2/{name}/manifests/{tag}")
    except (AliasInvalid, NameInvalid, EndpointUnknown):
        return
    if is_stored_name(name):
        return
    assert isinstance(target, Content)
    token = append_aliases(jwt(), Aliases({name: fixed()}))
    endpoint = forward(target, f"Bearer {token}", selects=False)
    assert isinstance(endpoint, Forward)
    if endpoint.warning:
        recommended = parse_alias(endpoint.warning.split("pull ")[1].split(" ")[0])
        assert recommended.slug == alias.slug
        assert recommended.image_service == alias.image_service
        assert parse_selector(recommended.selector) == parse_selector(tag.lower())


@given(st.text("ab/:@.+-2 \n") | st.text())
@FUZZ
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Nothing that is pasted is a bug of ours, and what it stands for can be pulled."""
    try:
        endpoint = parse_reference(text)
    except AliasInvalid as error:
        check_shown(error)
        return
    assert parse_alias(str(endpoint.alias)) == endpoint.alias


SECRET = f"made-up-{HASH}"


LOGINS = st.builds(
    lambda scheme, data, key: scheme + base64.b64encode(data + key).decode(),
    st.sampled_from(["Basic ", "basic  ", "Bearer ", "BASIC\t", ""]),
    st.binary(max_size=12) | st.sampled_from([b"", b":", b"u:", b"ue:\xc3"]),
    st.sampled_from([b"", b":", SECRET.encode(), f":{SECRET}".encode()]),
)
AUTHORIZATIONS = mutated(
    LOGINS | st.just(f"Bearer {SECRET}") | st.just(basic("u", SECRET)),
    ("Basic", "Bearer ", "\r\nX: y", "==", *" \t=:é\udcff\0,"),
)


def check_header(text: str) -> None:
    """Fail unless a header can carry the text."""
    check_header_validity(("Authorization", text))
    assert text.isascii()
    assert text.isprintable()


@given(AUTHORIZATIONS | WIRE)
@FUZZ
def test_credential_is_what_the_client_sent(header: str) -> None:
    """A login is passed on as it came, in a header that can carry it (R3)."""
    try:
        credential = parse_authorization(header)
    except RequestInvalid as error:
        check_shown(error, SECRET)
        return
    assert SECRET not in repr(credential)
    if credential.authorization is None:
        assert credential == ANONYMOUS
        return
    check_header(credential.authorization)
    scheme, _, value = credential.authorization.partition(" ")
    assert header.split(maxsplit=1)[0].lower() == scheme.lower()
    assert header.strip().endswith(value)
    if credential.key is not None:
        check_header(f"Bearer {credential.key}")
        sent = value if scheme == "Bearer" else base64.b64decode(value).decode()
        assert sent == credential.key or sent.partition(":")[2] == credential.key


SCOPE_PIECES = (
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
QUERIES = st.one_of(
    mutated(
        st.lists(st.tuples(st.sampled_from(["scope", "service"]), SCOPES)).map(
            urlencode
        ),
        SCOPE_PIECES,
    ),
    st.integers(0, 40).map(
        lambda count: "&".join(f"scope=repository:o/a{n}:pull" for n in range(count))
    ),
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
