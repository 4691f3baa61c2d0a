"""A client sees the proxy and its alias, wherever the registry names itself."""

import pytest

from resolver.content.answer import (
    BUFFER_LENGTH_MAX,
    View,
    is_rewritten,
    is_streamed,
    unsatisfiable,
)
from resolver.grammar.endpoint import Base, Content
from resolver.grammar.reference import Location
from tests.resolver.fake import (
    API,
    DIGEST,
    HASH,
    LOCATION,
    REGISTRY_HOST,
    endpoint,
    ident,
)

PROXY = "https://proxy.example:8080"
REALM = f"{PROXY}/auth/v1/token"
ALIAS = "org/app/2.3.8"
STORAGE = "https://storage.example/bucket"

REWRITTEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS, Location(LOCATION))
WITHOUT_TOKEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS)
STORED = View(PROXY, REALM, REGISTRY_HOST)


MANIFEST = endpoint("org/app/manifests/latest")
BLOB = endpoint(f"org/app/blobs/{DIGEST}")
TAGS = endpoint("org/app/tags/list")
REFERRERS = endpoint(f"org/app/referrers/{DIGEST}")
BASE = endpoint("")


CHALLENGES = [
    ('Basic realm="x"', 'Basic realm="x"', 'Basic realm="x"'),
    *(
        (
            f'Bearer realm="{API}/auth/v1/token",service="{REGISTRY_HOST}"{error}',
            f'Bearer realm="{REALM}",service="{REGISTRY_HOST}"{error}',
            f'Bearer realm="{REALM}",service="{REGISTRY_HOST}"{error}',
        )
        for error in ("", ',error="insufficient_scope"')
    ),
    (
        f'Bearer realm="{API}/",scope="repository:{LOCATION}:pull"',
        f'Bearer realm="{REALM}",scope="repository:{ALIAS}:pull"',
        f'Bearer realm="{REALM}",scope="repository:{LOCATION}:pull"',
    ),
    (
        f'Bearer realm="{API}",service="{LOCATION}",error="no {HASH}"',
        f'Bearer realm="{REALM}",service="{ALIAS}",error="no {ALIAS}"',
        f'Bearer realm="{REALM}",service="{LOCATION}",error="no {HASH}"',
    ),
]


@pytest.mark.parametrize(("theirs", "ours", "stored"), CHALLENGES, ids=ident)
def test_challenge(theirs: str, ours: str, stored: str) -> None:
    """The realm is ours, the location is the alias; service and error stay (R2)."""
    for name in ("WWW-Authenticate", "www-authenticate"):
        assert REWRITTEN.header(name, theirs) == ours
        assert WITHOUT_TOKEN.header(name, theirs) == stored
        assert STORED.header(name, theirs) == stored


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("Location", f"{STORAGE}/{HASH}?sig=a%2Fb", f"{STORAGE}/{HASH}?sig=a%2Fb"),
        ("location", f"//storage.example/{LOCATION}", f"//storage.example/{LOCATION}"),
        (
            "Location",
            f"https://{REGISTRY_HOST}/v2/{LOCATION}/blobs/{DIGEST}?a=b#c",
            f"{PROXY}/v2/{ALIAS}/blobs/{DIGEST}?a=b#c",
        ),
        (
            "Location",
            f"http://{REGISTRY_HOST}/v2/{LOCATION}/blobs/{DIGEST}",
            f"{PROXY}/v2/{ALIAS}/blobs/{DIGEST}",
        ),
        (
            "Location",
            f"https://{REGISTRY_HOST}:5000/v2/{LOCATION}/x",
            f"https://{REGISTRY_HOST}:5000/v2/{LOCATION}/x",
        ),
        (
            "Location",
            f"https://u:p@{REGISTRY_HOST.upper()}:443/v2/{LOCATION}/x",
            f"{PROXY}/v2/{ALIAS}/x",
        ),
        ("Location", f"http://{REGISTRY_HOST}:/v2/{LOCATION}", f"{PROXY}/v2/{ALIAS}"),
        (
            "Location",
            f"http://{REGISTRY_HOST}:443/v2/{LOCATION}",
            f"http://{REGISTRY_HOST}:443/v2/{LOCATION}",
        ),
        ("Location", f"https://[bad/v2/{LOCATION}", f"https://[bad/v2/{ALIAS}"),
        ("Location", f"/v2/{LOCATION}/x", f"/v2/{ALIAS}/x"),
        ("Content-Location", f"/v2/{LOCATION}/x", f"/v2/{ALIAS}/x"),
        (
            "Content-Location",
            f"https://{REGISTRY_HOST}/v2/{LOCATION}/x",
            f"{PROXY}/v2/{ALIAS}/x",
        ),
        (
            "Link",
            f'</v2/{LOCATION}/tags/list?last=a&n=1>; rel="next"',
            f'</v2/{ALIAS}/tags/list?last=a&n=1>; rel="next"',
        ),
        (
            "Link",
            f'<https://{REGISTRY_HOST}/v2/{LOCATION}/tags/list?n=1>; rel="next"',
            f'</v2/{ALIAS}/tags/list?n=1>; rel="next"',
        ),
        (
            "Link",
            f"<http://a/v2/{LOCATION}/x>; rel=next, <http://b/y>; rel=prev",
            f"</v2/{ALIAS}/x>; rel=next, </y>; rel=prev",
        ),
        ("Link", "<https://a//b/x>; rel=next, <////c/y>", "</b/x>; rel=next, </c/y>"),
        ("Link", "<x:http://b/y?n=1>, <list?n=1>", "</http://b/y?n=1>, <list?n=1>"),
        ("Link", "<https://[bad]/x>; rel=next", "<>; rel=next"),
        ("Link", "<https://a/b, <https://c/d>", "</b, <https://c/d>"),
        ("Link", "<https://a/b", "</b>"),
        ("X-Repository", LOCATION, ALIAS),
        ("X-Escaped", LOCATION.replace("/", "%2F"), ALIAS),
        ("X-Escaped", LOCATION.replace("/", "%2f"), ALIAS),
        ("X-Hash", f"name={HASH};", f"name={ALIAS};"),
        ("Docker-Content-Digest", DIGEST, DIGEST),
        ("Content-Type", "application/json", "application/json"),
        ("Content-Range", "bytes 0-9/100", "bytes 0-9/100"),
        ("ETag", f'"{DIGEST}"', f'"{DIGEST}"'),
    ],
    ids=ident,
)
def test_header(name: str, theirs: str, ours: str) -> None:
    """Links and names stay on the proxy, redirects to storage are kept (R2, R10)."""
    assert REWRITTEN.header(name, theirs) == ours


@pytest.mark.parametrize("view", [WITHOUT_TOKEN, STORED], ids=["alias", "stored"])
@pytest.mark.parametrize("name", ["Location", "Link", "X-Repository"])
def test_location_that_the_client_knows_is_kept(view: View, name: str) -> None:
    """Who asks by location, or has no token, finds the names that were asked for."""
    link = f"</v2/{LOCATION}/x>"
    assert view.header(name, link) == link
    assert view.body(link.encode()) == link.encode()
    assert REWRITTEN.body(link.encode()) == f"</v2/{ALIAS}/x>".encode()


@pytest.mark.parametrize(
    ("wanted", "content_range", "message"),
    [
        (
            "bytes=9-",
            "bytes */5",
            "no byte is in the range 'bytes=9-': the length is 5 ",
        ),
        (
            "bytes=-0",
            "bytes */0",
            "no byte is in the range 'bytes=-0': the length is 0 ",
        ),
        ("bytes=5-2", "", "'bytes=5-2' is no range: one is like bytes=0-99,"),
        ("lines=1-2", "", "'lines=1-2' is no range"),
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


@pytest.mark.parametrize(
    ("where", "status", "length", "is_held"),
    [
        (BLOB, 200, "", False),
        (BLOB, 200, str(1 << 40), False),
        (BLOB, 206, "5", False),
        (BLOB, 307, "0", False),
        (BLOB, 401, "157", True),
        (BLOB, 416, "1000", True),
        (BLOB, 500, "0", True),
        (MANIFEST, 200, "", True),
        (MANIFEST, 200, "x", True),
        (MANIFEST, 200, "-1", True),
        (MANIFEST, 200, str(BUFFER_LENGTH_MAX), True),
        (MANIFEST, 200, str(BUFFER_LENGTH_MAX + 1), False),
        (MANIFEST, 404, str(BUFFER_LENGTH_MAX + 1), False),
        (MANIFEST, 200, "9" * 5000, False),
        (TAGS, 200, "50", True),
        (REFERRERS, 200, "50", True),
        (BASE, 401, "50", True),
    ],
    ids=ident,
)
def test_streaming(
    *, where: Base | Content, status: int, length: str, is_held: bool
) -> None:
    """Blobs and giants are streamed; an error that names a location is not (R12)."""
    headers = {"content-length": length} if length else {}
    assert is_streamed(where, status, headers) is not is_held


@pytest.mark.parametrize(
    ("where", "status", "is_changed"),
    [
        (MANIFEST, 200, False),
        (MANIFEST, 304, False),
        (MANIFEST, 400, True),
        (MANIFEST, 404, True),
        (BLOB, 200, False),
        (BLOB, 307, False),
        (BLOB, 404, True),
        (TAGS, 200, True),
        (TAGS, 404, True),
        (REFERRERS, 200, True),
        (BASE, 200, False),
        (BASE, 401, True),
    ],
)
def test_rewriting(*, where: Base | Content, status: int, is_changed: bool) -> None:
    """Lists and errors may name the location; a manifest stays as it is (R2, R10)."""
    assert is_rewritten(where, status) is is_changed
