"""A client sees the proxy and its alias, wherever the registry names itself."""

import pytest

from resolver.content.answer import (
    ANSWER_HEADERS,
    BLOB_HEADERS,
    BUFFER_LENGTH_MAX,
    ERROR_HEADERS,
    View,
    is_rewritten,
    is_streamed,
    pass_on,
    unsatisfiable,
)
from resolver.grammar.endpoint import Base, Content
from resolver.grammar.reference import Location
from tests.resolver.fake import (
    API,
    DIGEST,
    HASH,
    LOCATION,
    REGISTRY,
    REGISTRY_HOST,
    endpoint,
    ident,
)

PROXY = "https://proxy.example:8080"
REALM = f"{PROXY}/auth/v1/token"
ALIAS = "org/app/2.3.8"
REGISTRY_PORT = f"https://{REGISTRY_HOST}:5000"
THEIRS, OURS = f"/v2/{LOCATION}", f"/v2/{ALIAS}"
REWRITTEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS, Location(LOCATION))
WITHOUT_TOKEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS)
STORED = View(PROXY, REALM, REGISTRY_HOST)
MANIFEST = endpoint("org/app/manifests/latest")
BLOB = endpoint(f"org/app/blobs/{DIGEST}")
TAGS = endpoint("org/app/tags/list")
REFERRERS = endpoint(f"org/app/referrers/{DIGEST}")
BASE = endpoint("")


@pytest.mark.parametrize(
    "rest",
    [
        'service="{host}",error="insufficient_scope"',
        'service="{host}",scope="repository:{name}:pull"',
        'service="{name}",error="no {name}"',
    ],
)
def test_challenge(rest: str) -> None:
    """The realm is ours, the location is the alias; service and error stay (R2)."""
    stored = rest.format(host=REGISTRY_HOST, name=LOCATION)
    theirs = f'Bearer realm="{API}/auth/v1/token",{stored}'
    ours = f'Bearer realm="{REALM}",'
    shown = ours + rest.format(host=REGISTRY_HOST, name=ALIAS)
    assert REWRITTEN.header("www-authenticate", theirs) == shown
    for view in (WITHOUT_TOKEN, STORED):
        assert view.header("WWW-Authenticate", theirs) == ours + stored


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Location", f"https://storage.example/{HASH}?sig=a%2Fb"),
        ("Location", f"//storage.example{THEIRS}"),
        ("Location", f"{REGISTRY_PORT}{THEIRS}"),
        ("Location", f"http://{REGISTRY_HOST}:443{THEIRS}"),
        ("Docker-Content-Digest", DIGEST),
        ("WWW-Authenticate", 'Basic realm="x"'),
    ],
    ids=ident,
)
def test_header_is_kept(name: str, value: str) -> None:
    """Redirects to storage, another port and digests are no names of ours (R2)."""
    assert REWRITTEN.header(name, value) == value


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("Location", f"{REGISTRY}{THEIRS}/x?a=b#c", f"{PROXY}{OURS}/x?a=b#c"),
        ("location", f"http://{REGISTRY_HOST}{THEIRS}/x", f"{PROXY}{OURS}/x"),
        (
            "Location",
            f"https://u:p@{REGISTRY_HOST.upper()}:443{THEIRS}/x",
            f"{PROXY}{OURS}/x",
        ),
        ("Location", f"http://{REGISTRY_HOST}:{THEIRS}", f"{PROXY}{OURS}"),
        ("Location", f"https://[bad{THEIRS}", f"https://[bad{OURS}"),
        ("Location", f"{THEIRS}/x", f"{OURS}/x"),
        ("Content-Location", f"{THEIRS}/x", f"{OURS}/x"),
        ("Content-Location", f"{REGISTRY}{THEIRS}/x", f"{PROXY}{OURS}/x"),
        ("Link", f"<{THEIRS}?last=a&n=1>; rel=next", f"<{OURS}?last=a&n=1>; rel=next"),
        ("Link", f"<{REGISTRY}{THEIRS}?n=1>; rel=next", f"<{OURS}?n=1>; rel=next"),
        ("Link", "<https://a//b/x>; rel=next, <////c/y>", "</b/x>; rel=next, </c/y>"),
        ("Link", "<x:http://b/y?n=1>, <list?n=1>", "</http://b/y?n=1>, <list?n=1>"),
        ("Link", "<https://[bad]/x>; rel=next", "<>; rel=next"),
        ("Link", "<https://a/b, <https://c/d>", "</b, <https://c/d>"),
        ("Link", "<https://a/b", "</b>"),
        ("X-Repository", LOCATION, ALIAS),
        ("X-Escaped", LOCATION.replace("/", "%2F"), ALIAS),
        ("X-Hash", f"name={HASH};", f"name={ALIAS};"),
    ],
    ids=ident,
)
def test_header_is_rewritten(name: str, theirs: str, ours: str) -> None:
    """Links, and redirects to the registry, stay on the proxy with the alias (R10)."""
    assert REWRITTEN.header(name, theirs) == ours


BODIES = {
    f'{{"name":"{LOCATION}","{LOCATION}":1}}': f'{{"name":"{ALIAS}","{ALIAS}":1}}',
    f'"é at v2\\/{HASH}"': f'"é at {ALIAS}"',
    f"v2%2F{HASH} and v2%2f{HASH}": f"{ALIAS} and {ALIAS}",
    "nothing of it": "nothing of it",
}


@pytest.mark.parametrize(("theirs", "ours"), BODIES.items(), ids=ident)
def test_body(theirs: str, ours: str) -> None:
    """A list or error says of the alias what it said of the location (R2, R10)."""
    assert REWRITTEN.body(theirs.encode()) == ours.encode()


@pytest.mark.parametrize("view", [WITHOUT_TOKEN, STORED], ids=["alias", "stored"])
def test_location_that_the_client_knows_is_kept(view: View) -> None:
    """Who asks by location, or has no token, finds the names that were asked for."""
    link = f"<{THEIRS}/x>"
    for name in ("Location", "Link", "X-Repository"):
        assert view.header(name, link) == link
    assert view.body(link.encode()) == link.encode()


@pytest.mark.parametrize(
    ("wanted", "content_range", "message"),
    [
        (
            "bytes=9-",
            "bytes */5",
            "no byte is in the range 'bytes=9-': the length is ",
        ),
        (
            "bytes=-0",
            "bytes */0",
            "no byte is in the range 'bytes=-0': the length is ",
        ),
        ("bytes=5-2", "", "'bytes=5-2' is no range: one is like bytes=0-99,"),
        ("\x1b[2J", "bytes */x", r"'\x1b[2J' is no range"),
        ("", "", "'' is no range"),
    ],
    ids=ident,
)
def test_range_that_has_nothing(wanted: str, content_range: str, message: str) -> None:
    """A 416 says in words what was asked for and how long it is, as far as is known."""
    error = unsatisfiable(wanted, content_range)
    assert error.message.startswith(message)
    is_read = message.startswith("no byte")
    assert error.headers == ((("Content-Range", content_range),) if is_read else ())


ALL = [BLOB, MANIFEST, TAGS, REFERRERS, BASE]
ENOUGH, TOO_MUCH = str(BUFFER_LENGTH_MAX), str(BUFFER_LENGTH_MAX + 1)


@pytest.mark.parametrize(
    ("length", "status", "streamed"),
    [
        ("", 200, [BLOB]),
        ("5", 206, [BLOB]),
        ("0", 307, [BLOB]),
        ("157", 401, []),
        ("1000", 416, []),
        ("0", 500, []),
        ("x", 200, [BLOB]),
        ("-1", 200, [BLOB]),
        (ENOUGH, 200, [BLOB]),
        (TOO_MUCH, 200, ALL),
        (TOO_MUCH, 404, ALL),
        ("9" * 5000, 200, ALL),
    ],
    ids=ident,
)
def test_streaming(length: str, status: int, streamed: list[Base | Content]) -> None:
    """Blobs and giants are streamed; an error that names a location is not (R12)."""
    headers = {"content-length": length} if length else {}
    assert [x for x in ALL if is_streamed(x, status, headers)] == streamed


@pytest.mark.parametrize(
    ("status", "rewritten"),
    [(200, [TAGS, REFERRERS]), (304, [TAGS, REFERRERS]), (401, ALL), (404, ALL)],
)
def test_rewriting(status: int, rewritten: list[Base | Content]) -> None:
    """Lists and errors may name the location; a manifest stays as it is (R2, R10)."""
    assert [x for x in ALL if is_rewritten(x, status)] == rewritten


def test_headers_that_are_passed_on() -> None:
    """Only those that are named go along, each on a line of its own."""
    fields = [
        (b"ETAG", b"a\r\n b"),
        (b"Link", b"a\rSet-Cookie: b\0c\x1b[2J\td"),
        (b"Via", b"1.1 cache.internal"),
        (b"X-Caf\xe9", b"x"),
        (b"Vary", b"\xe9"),
    ]
    assert pass_on(fields, ANSWER_HEADERS) == [
        (b"ETAG", b"a  b"),
        (b"Link", b"a Set-Cookie: b c [2J\td"),
        (b"Vary", b"\xe9"),
    ]


def test_storage_says_less_than_the_registry() -> None:
    """What clients get of a storage is a part of what they get of a registry."""
    assert ERROR_HEADERS < BLOB_HEADERS < ANSWER_HEADERS
    assert not {"location", "link", "www-authenticate"} & BLOB_HEADERS
