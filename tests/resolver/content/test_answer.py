"""A client sees the proxy and its alias, wherever the registry names itself."""

import json
import time

import pytest

from resolver.content.answer import (
    BUFFER_LENGTH_MAX,
    View,
    is_rewritten,
    is_streamed,
    unsatisfiable,
)
from resolver.grammar.endpoint import Base, Content, parse_target
from resolver.grammar.reference import Location
from tests.resolver.fake import API, DIGEST, HASH, LOCATION, REGISTRY_HOST, ident

PROXY = "https://proxy.example:8080"
REALM = f"{PROXY}/auth/v1/token"
ALIAS = "org/app/2.3.8"
STORAGE = "https://storage.example/bucket"

REWRITTEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS, Location(LOCATION))
WITHOUT_TOKEN = View(PROXY, REALM, REGISTRY_HOST, ALIAS)
STORED = View(PROXY, REALM, REGISTRY_HOST)


def target(path: str) -> Base | Content:
    """Return what the path under /v2/ is for."""
    found = parse_target("GET", f"/v2/{path}")
    assert isinstance(found, Base | Content)
    return found


MANIFEST = target("org/app/manifests/latest")
BLOB = target(f"org/app/blobs/{DIGEST}")
TAGS = target("org/app/tags/list")
REFERRERS = target(f"org/app/referrers/{DIGEST}")
BASE = target("")


@pytest.mark.parametrize("view", [REWRITTEN, WITHOUT_TOKEN, STORED])
@pytest.mark.parametrize("name", ["WWW-Authenticate", "www-authenticate"])
@pytest.mark.parametrize("error", ["", ',error="insufficient_scope"'])
def test_realm_is_ours(view: View, name: str, error: str) -> None:
    """A challenge names our token endpoint, and keeps service and error (R2)."""
    theirs = f'Bearer realm="{API}/auth/v1/token",service="{REGISTRY_HOST}"{error}'
    ours = f'Bearer realm="{REALM}",service="{REGISTRY_HOST}"{error}'
    assert view.header(name, theirs) == ours


def test_scope_names_the_alias() -> None:
    """A challenge for the location is one for the alias, to the client (R2)."""
    theirs = f'Bearer realm="{API}/",scope="repository:{LOCATION}:pull"'
    ours = f'Bearer realm="{REALM}",scope="repository:{ALIAS}:pull"'
    assert REWRITTEN.header("WWW-Authenticate", theirs) == ours
    kept = f'Bearer realm="{REALM}",scope="repository:{LOCATION}:pull"'
    assert STORED.header("WWW-Authenticate", theirs) == kept


def test_whole_challenge_names_the_alias() -> None:
    """Nor is the location in any other part of a challenge (R2)."""
    named = 'Bearer realm="{}",service="{}",error="no {}"'
    theirs, ours = named.format(API, LOCATION, HASH), named.format(REALM, ALIAS, ALIAS)
    assert REWRITTEN.header("WWW-Authenticate", theirs) == ours


def test_other_scheme_is_kept() -> None:
    """What is no Bearer challenge is left as it is."""
    assert REWRITTEN.header("WWW-Authenticate", 'Basic realm="x"') == 'Basic realm="x"'


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


def test_long_link_is_read_at_once() -> None:
    """A header of brackets takes a moment, and not the square of its length."""
    begin = time.process_time()
    assert REWRITTEN.header("Link", "<" * (128 << 10)).startswith("<")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("view", [WITHOUT_TOKEN, STORED], ids=["alias", "stored"])
@pytest.mark.parametrize("name", ["Location", "Link", "X-Repository"])
def test_location_that_the_client_knows_is_kept(view: View, name: str) -> None:
    """Who asks by location, or has no token, finds the names that were asked for."""
    assert view.header(name, f"</v2/{LOCATION}/x>") == f"</v2/{LOCATION}/x>"


@pytest.mark.parametrize(
    "theirs",
    [
        json.dumps({"name": LOCATION, "tags": ["latest"]}),
        json.dumps({"name": LOCATION}).replace("/", "\\/"),
        json.dumps({"errors": [{"detail": {"name": LOCATION, "x": [LOCATION]}}]}),
        f"repository {LOCATION} not known; {HASH}",
        f"scope%3Drepository%3A{LOCATION.replace('/', '%2F')}%3Apull",
    ],
    ids=["tags", "escaped", "error", "text", "encoded"],
)
def test_body_names_the_alias(theirs: str) -> None:
    """No list and no error body shows the location, in whatever form (R2, R10)."""
    ours = REWRITTEN.body(theirs.encode()).decode()
    assert HASH not in ours
    assert ALIAS in ours
    assert "v2" not in ours.replace(ALIAS, "")
    assert STORED.body(theirs.encode()) == theirs.encode()
    assert WITHOUT_TOKEN.body(theirs.encode()) == theirs.encode()


def test_body_stays_json() -> None:
    """A rewritten list is still one."""
    theirs = json.dumps({"name": LOCATION, "tags": ["latest"]}).encode()
    expected = {"name": ALIAS, "tags": ["latest"]}
    assert json.loads(REWRITTEN.body(theirs)) == expected


def test_bytes_that_are_no_text_are_kept() -> None:
    """A body is never decoded on its way."""
    assert REWRITTEN.body(b"\xff\x00" + LOCATION.encode()) == b"\xff\x00org/app/2.3.8"


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


JSON, TEXT = "application/json; charset=utf-8", "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("where", "status", "content_type", "length", "is_held"),
    [
        (BLOB, 200, "application/octet-stream", "5", False),
        (BLOB, 200, JSON, "5", False),
        (BLOB, 200, "application/octet-stream", str(1 << 40), False),
        (BLOB, 206, "application/octet-stream", "5", False),
        (BLOB, 307, JSON, "0", False),
        (BLOB, 416, TEXT, "1000", True),
        (BLOB, 500, "", "0", True),
        (BLOB, 400, JSON, "157", True),
        (BLOB, 404, JSON, "157", True),
        (BLOB, 401, JSON, "157", True),
        (BLOB, 404, TEXT, "157", True),
        (MANIFEST, 200, "application/vnd.oci.image.manifest.v1+json", "500", True),
        (MANIFEST, 200, JSON, str(BUFFER_LENGTH_MAX), True),
        (MANIFEST, 200, JSON, str(BUFFER_LENGTH_MAX + 1), False),
        (MANIFEST, 404, JSON, str(BUFFER_LENGTH_MAX + 1), False),
        (MANIFEST, 200, JSON, "9" * 5000, False),
        (MANIFEST, 200, JSON, "", True),
        (MANIFEST, 200, JSON, "x", True),
        (MANIFEST, 200, JSON, "-1", True),
        (TAGS, 200, JSON, "50", True),
        (REFERRERS, 200, JSON, "50", True),
        (BASE, 401, JSON, "50", True),
        (BASE, 200, JSON, "2", True),
    ],
)
def test_streaming(
    *,
    where: Base | Content,
    status: int,
    content_type: str,
    length: str,
    is_held: bool,
) -> None:
    """Blobs and giants are streamed; an error that names a location is not (R12)."""
    headers = {"content-type": content_type, "content-length": length}
    assert is_streamed(where, status, headers) is not is_held


def test_streaming_without_headers() -> None:
    """A blob is streamed and a manifest held, also where no header says anything."""
    assert is_streamed(BLOB, 200, {})
    assert not is_streamed(MANIFEST, 200, {})


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


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="https://api.example.com/t"; service="s"',
        "Bearer garbage",
        'Bearer realm="https://api.example.com/t',
    ],
)
def test_challenge_that_cannot_be_read_leads_to_the_proxy(challenge: str) -> None:
    """Whatever the registry writes, no client is sent past the proxy (R2)."""
    shown = REWRITTEN.header("WWW-Authenticate", challenge)
    assert "api.example.com" not in shown
    assert f'realm="{REWRITTEN.token_url}"' in shown
