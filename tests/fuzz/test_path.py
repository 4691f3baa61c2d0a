"""Whatever stands in a request line, it is one of our endpoints or refused."""

import re
from urllib.parse import unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from resolver.content.forward import Forward, forward
from resolver.errors import (
    AliasInvalid,
    EndpointUnknown,
    MethodNotAllowed,
    NameInvalid,
)
from resolver.grammar.endpoint import Base, Content, Kind, TokenEndpoint, parse_target
from resolver.grammar.reference import (
    is_stored_name,
    parse_alias,
    parse_digest,
    parse_repository_name,
    parse_tag,
)
from resolver.grammar.selector import parse_selector
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import DIGEST, LOCATION, basic, fixed, jwt

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
        *(
            "",
            "?",
            "?n=1&last=a%2Fb",
            "?artifactType=a/b%2Bc&n=2&x=3",
            "?n=%ff&n=\udcff",
        ),
        *("?ns=docker.io", "?last=a+b&last=%C3%A9é", "?n", "?n=", "?scope=a&service=b"),
    ]
)
KINDS = st.sampled_from([*Kind, "uploads", ""])
SOUND = st.one_of(
    st.builds("/v2/{}/{}/{}{}".format, NAMES, KINDS, REFERENCES, QUERIES),
    st.builds("/v2/{}/tags/list{}".format, NAMES, QUERIES),
    st.builds(
        "{}{}".format,
        st.sampled_from(["/ping", "/ready", "/auth/v1/token", "/v2", "/v2/", "/"]),
        QUERIES,
    ),
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT"]) | WIRE
PARAMETERS = {
    Kind.TAGS: {b"n", b"last"},
    Kind.REFERRERS: {b"artifactType", b"n", b"last"},
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
        found = parse_target(method, path)
    except (EndpointUnknown, MethodNotAllowed, NameInvalid) as error:
        check_shown(error)
        return
    assert method in ("GET", "HEAD") or isinstance(found, TokenEndpoint)
    if isinstance(found, Base):
        assert (found.path, asked.rstrip("/")) == ("/v2/", "/v2")
    if not isinstance(found, Content):
        return
    assert parse_target(method, found.path) == found
    sent, _, parameters = found.path.partition("?")
    assert sent == asked
    assert PATH.fullmatch(sent)
    assert not {"", ".", ".."} & set(sent.split("/")[1:])
    assert not parameters or QUERY.fullmatch(parameters)
    allowed = PARAMETERS.get(found.kind, set())
    assert pairs(parameters) == [pair for pair in pairs(query) if pair[0] in allowed]


@given(mutated(NAMES, PIECES), KINDS, mutated(REFERENCES, PIECES))
@FUZZ
def test_path_is_as_sound_as_its_parts(name: str, kind: str, reference: str) -> None:
    """A path is accepted just where its name and its tag or digest are."""
    is_sound = kind in (Kind.MANIFEST, Kind.BLOB, Kind.REFERRERS) and bool(
        parse_digest(reference) or (kind == Kind.MANIFEST and parse_tag(reference))
    )
    try:
        parse_repository_name(name)
    except NameInvalid as error:
        check_shown(error)
        is_sound = False
    if "?" in name or "/" in reference or "?" in reference:
        return
    try:
        found = parse_target("GET", f"/v2/{name}/{kind}/{reference}")
    except (NameInvalid, EndpointUnknown):
        assert not is_sound
    else:
        assert isinstance(found, Content)
        assert is_sound
        assert (found.name, found.kind, found.reference) == (name, kind, reference)


@given(
    mutated(SOUND, PIECES),
    st.none()
    | st.just(basic("u", "key"))
    | mutated(st.just("Basic dTpr"), ("Bearer",)),
)
@FUZZ
def test_request_without_token_goes_as_it_came(path: str, login: str | None) -> None:
    """Without a token the path goes upstream as it is, and no other login (R6)."""
    try:
        target = parse_target("GET", path)
    except (EndpointUnknown, NameInvalid):
        return
    if not isinstance(target, Base | Content) or (login or "").strip()[:6] == "Bearer":
        return
    try:
        found = forward(target, login, selects=False)
    except AliasInvalid as error:
        assert isinstance(target, Content)
        assert not is_stored_name(target.name)
        check_shown(error)
        return
    assert isinstance(found, Forward)
    assert (found.path, found.authorization, found.location, found.warning) == (
        *(target.path, None, None, None),
    )


TAGS = mutated(
    st.sampled_from(
        ["2.3.8", "v2.3", "1.0.0-rc.1", "2.0.0-RC1", "2.x", "11e1ee2", "1.0.0_rev1"]
    ),
    ("-", "--", ".", "_", "a", "0", "-a", "9" * 12, "x" * 90),
)


@given(mutated(NAMES, ("/a", "/2", "a" * 60)), TAGS)
@example("org/app", "1.0.0--")
@FUZZ
def test_recommended_name_can_be_pulled(name: str, tag: str) -> None:
    """Whatever a warning about a tag recommends is an alias, and asks for that (R9)."""
    try:
        alias = parse_alias(name)
        target = parse_target("GET", f"/v2/{name}/manifests/{tag}")
    except (AliasInvalid, NameInvalid, EndpointUnknown):
        return
    assert isinstance(target, Content)
    if is_stored_name(name):
        return
    token = append_aliases(jwt(), Aliases({name: fixed(LOCATION)}))
    found = forward(target, f"Bearer {token}", selects=False)
    assert isinstance(found, Forward)
    if target.reference == parse_digest(tag):
        assert found.path == f"/v2/{LOCATION}/manifests/{tag}"
        return
    assert found.path.startswith(f"/v2/{LOCATION}/manifests/")
    if found.warning is None:
        return
    assert '"' not in found.warning
    recommended = parse_alias(found.warning.split("pull ")[1].split(" ")[0])
    assert (recommended.slug, recommended.image_service) == (
        *(alias.slug, alias.image_service),
    )
    assert parse_selector(recommended.selector) == parse_selector(tag.lower())
