"""Whatever stands in a request line, it is one of our endpoints or refused."""

import re
from contextlib import suppress
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
    parse_digest,
    parse_reference,
)
from resolver.grammar.selector import parse_selector
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import DIGEST, LOCATION, fixed, jwt

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
KINDS = st.sampled_from([*ContentKind, "uploads", ""])
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
@FUZZ
def test_recommended_name_can_be_pulled(name: str, tag: str) -> None:
    """Whatever a warning about a tag recommends is an alias, and asks for that (R9)."""
    try:
        alias = parse_alias(name)
        target = parse_endpoint("GET", f"/v2/{name}/manifests/{tag}")
    except (AliasInvalid, NameInvalid, EndpointUnknown):
        return
    assert isinstance(target, Content)
    if is_stored_name(name):
        return
    token = append_aliases(jwt(), Aliases({name: fixed(LOCATION)}))
    endpoint = forward(target, f"Bearer {token}", selects=False)
    assert isinstance(endpoint, Forward)
    if target.reference == parse_digest(tag):
        assert endpoint.path == f"/v2/{LOCATION}/manifests/{tag}"
        return
    assert endpoint.path.startswith(f"/v2/{LOCATION}/manifests/")
    if endpoint.warning is None:
        return
    assert '"' not in endpoint.warning
    recommended = parse_alias(endpoint.warning.split("pull ")[1].split(" ")[0])
    assert (recommended.slug, recommended.image_service) == (
        *(alias.slug, alias.image_service),
    )
    assert parse_selector(recommended.selector) == parse_selector(tag.lower())


@given(st.text("ab/:@.+-2 \n") | st.text())
@FUZZ
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Nothing that is pasted is a bug of ours, and what it stands for can be pulled."""
    with suppress(AliasInvalid):
        endpoint = parse_reference(text)
        assert parse_alias(str(endpoint.alias)) == endpoint.alias
