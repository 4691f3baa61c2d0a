"""Whatever challenge the registry sends, clients are led to the proxy alone."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from resolver.content.answer import View
from resolver.errors import ServiceUnavailable
from resolver.grammar.challenge import Challenge, parse_challenge
from resolver.grammar.reference import Location
from resolver.upstream.registry import Upstream
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import (
    API,
    CHALLENGE,
    HASH,
    LOCATION,
    REGISTRY,
    REGISTRY_HOST,
    SOON,
    FakeTransport,
    challenged,
)

ALIAS = "org/app/2.3.8"
PROXY = "http://localhost:8080"
REALM = f"{PROXY}/auth/v1/token"
VIEWS = st.sampled_from(
    [
        View(PROXY, REALM, REGISTRY_HOST, ALIAS, Location(LOCATION)),
        View(PROXY, REALM, REGISTRY_HOST, ALIAS),
        View(PROXY, REALM, REGISTRY_HOST),
    ]
)
PIECES = (
    *("Bearer ", "bearer\t", "BEARER", "Bearer", 'realm="x"', "realm=x", "realm=", ","),
    *('"', "\\", '\\"', "=", " ", "  ", ";", ", ", "\0", "é", "service=", "https://"),
    *(LOCATION, HASH, "Basic ", f'Bearer realm="{API}"', "," * 50, " " * 50, "\\" * 50),
)
SCHEMES = ("Basic", "Digest", "Negotiate", "Bearer", "bEARER", "DPoP")
NAMES = ("realm", "Service", "scope", "error", "REALM", "charset", "error_description")
WORDS = st.text("ab:/.,=; \"\\é'", max_size=9) | st.sampled_from(
    [API, f"repository:{LOCATION}:pull", "insufficient_scope", ""]
)


@st.composite
def listed(draw: st.DrawFn) -> tuple[str, Challenge | None]:
    """Return a header that lists challenges, and the Bearer challenge in it."""
    challenge: Challenge | None = None
    seen, texts = False, []
    for scheme in draw(st.lists(st.sampled_from(SCHEMES), min_size=1, max_size=3)):
        pairs = draw(
            st.lists(st.tuples(st.sampled_from(NAMES), WORDS), min_size=1, max_size=5)
        )
        params = {name.lower(): value for name, value in reversed(pairs)}
        if scheme.lower() == "bearer" and not seen:
            seen = True
            names = ("realm", "service", "scope", "error")
            known = {name: params[name] for name in names if name in params}
            challenge = Challenge(**known) if "realm" in known else None
        space = draw(st.sampled_from(["", " ", "\t"]))
        written = f"{space},{space}".join(
            f"{name}{space}={space}{_written(draw, value)}" for name, value in pairs
        )
        texts.append(f"{scheme} {space}{written}")
    return draw(st.sampled_from([", ", ",", " , "])).join(texts), challenge


def _written(draw: st.DrawFn, value: str) -> str:
    """Return the value quoted, or plain where it can be."""
    if re.fullmatch(r"[a-z:/.]+", value) and draw(st.booleans()):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


HEADERS = mutated(
    st.just(CHALLENGE) | listed().map(lambda pair: pair[0]), PIECES
) | WIRE.map("Bearer {}".format)


@given(listed())
@FUZZ
def test_bearer_is_found_among_others(pair: tuple[str, Challenge | None]) -> None:
    """Of all that a header lists, the first Bearer challenge is read as it stands."""
    header, expected = pair
    assert parse_challenge(header) == expected


@given(HEADERS, VIEWS)
@FUZZ
def test_realm_is_ours_whatever_comes(header: str, view: View) -> None:
    """A header with anything of Bearer in it becomes one challenge with our realm."""
    challenge = parse_challenge(header)
    if challenge:
        assert parse_challenge(str(challenge)) == challenge
    shown = view.header("WWW-Authenticate", header)
    if view.location:
        assert HASH not in shown
    if "bearer" not in header.lower():
        assert challenge is None
        assert "bearer" not in shown.lower()
        return
    ours = parse_challenge(shown)
    assert ours
    assert str(ours) == shown
    assert ours.realm == REALM
    if not challenge:
        assert ours == Challenge(REALM, REGISTRY_HOST)
    elif HASH not in header:
        assert (ours.service, ours.error) == (challenge.service, challenge.error)


ORIGIN = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", re.ASCII)
REALMS = mutated(
    st.sampled_from(
        [f"{API}/auth/v1/token", "http://api/t", "//a/b", "https://[::1]/"]
    ),
    ("/", "@", "user:key@", ":", ":99999", "[", "]", "%", "?", "#", "\\", "\t", "é"),
)


@example(str(Challenge("https://api:99999/", "r")), 401, None, REGISTRY)
@given(
    HEADERS | REALMS.map(lambda realm: str(Challenge(realm, "r"))),
    st.sampled_from([200, 401, 401, 401, 404, 503]),
    st.none() | st.just(API),
    st.sampled_from([REGISTRY, "http://registry2.example.com"]),
)
@FUZZ
def test_registry_names_a_sound_api_or_none(
    header: str, status: int, api_url: str | None, registry_url: str
) -> None:
    """Keys are sent to the API of the registry's challenge, with TLS, or nowhere."""
    network = FakeTransport({"/v2/": challenged(header, status)})
    upstream = Upstream(registry_url, api_url, network)
    try:
        backend = upstream.connect(SOON)
    except ServiceUnavailable as error:
        check_shown(error)
        assert upstream.backend is None
        return
    assert status in (200, 401)
    url = backend.api._url
    if api_url:
        assert url == api_url
        return
    challenge = parse_challenge(header)
    assert challenge
    assert url.partition("://")[2] in re.sub(r"[\t\r\n]", "", challenge.realm)
    assert ORIGIN.fullmatch(url)
    assert url.startswith("https:") or registry_url.startswith("http:")
    assert backend.service == (challenge.service or REGISTRY_HOST)
