"""The steps of a pull, and what each of them can find wrong."""

import json
import time
from pathlib import Path

import pytest

from cause.finding import Cause
from localcloud.server import Request, Response
from mitm.reply import with_id
from pull import blob, connection
from pull.client import Client
from pull.connection import Trust
from pull.fault import Fault
from pull.login import Login, with_key
from pull.manifest import INDEXES, this_platform
from pull.reference import parse_reference
from tests.authority import Authority
from tests.pull.site import (
    CONFIG,
    LAYER,
    MANIFEST,
    NAME,
    Site,
    dated,
    descriptor,
    digest_of,
    error,
    jwt_of,
    manifest_of,
    sited,
)

KEY = "k" * 32
HTML = Response(404, (("Content-Type", "text/html"),), b"<html>\x1b[2J</html>")


def test_steps(site: Site) -> None:
    """Each is told, with the storage's host, and without the query of its URL."""
    said = site.pull()
    assert [line for line in said if line[0] in "1234567"] == [
        f"1. ask for the manifest, without a token\n     GET {MANIFEST}",
        f"2. ask for a token with that scope\n     GET {site.tokens.url}/auth/v1/token",
        f"3. ask for the manifest, with the token\n     GET {MANIFEST}",
        "4. ask for the blobs, and check each against its digest",
    ]
    assert "   200, a token for 300 seconds" in said
    assert f"     from the storage 127.0.0.1:{site.line.port}" in said
    bar = "#" * 24
    short = digest_of(LAYER)[7:19]
    assert said[-1] == f"     {short} [{bar}]    0.256 MB checked"
    assert not any("Signature" in line for line in said)


def test_registry_without_login(site: Site) -> None:
    """Where no token is asked for, none is fetched."""
    whole = site.registry.application
    site.registry.application = lambda r: whole(
        Request(r.method, r.target, (*r.headers, ("Authorization", "none")))
    )
    said = site.pull()
    assert "2. ask for the blobs, and check each against its digest" in said
    assert len(site.tokens.requests) == 0


def test_basic_login(site: Site) -> None:
    """User name and password are sent where the challenge is Basic."""
    site.challenge = 'Basic realm="Registry"'
    sentence = site.fault(Cause.LOGIN)
    assert sentence.endswith("authentication required, and no login was sent")
    said = site.pull(find_login=with_key(KEY))
    assert "2. log in as me, with what the caller has" in said
    site.let_logged_in(lambda: error(401, "UNAUTHORIZED", "no"))
    assert site.fault(Cause.LOGIN, find_login=with_key(KEY)).endswith(
        "answers 401 UNAUTHORIZED: no; the login me from the caller is wrong, or has"
        " expired"
    )


def test_identity_token_is_posted(site: Site) -> None:
    """It gets a token by OAuth2, and by GET where there is no POST."""
    login = Login("<token>", "refresh", "a helper", is_identity=True)
    site.pull(find_login=lambda _host, _realm: login)
    assert [r.method for r in site.tokens.requests] == ["POST"]
    site.tokens.interpose = lambda r: Response(404) if r.method == "POST" else None
    site.pull(find_login=lambda _host, _realm: login)
    assert [r.method for r in site.tokens.requests] == ["POST", "POST", "GET"]


def test_index_leads_to_the_platform(site: Site) -> None:
    """The image of this machine is taken; without one it is said what there is."""
    image, kind = site.manifest, site.media_type
    system, machine, *_ = this_platform().split("/")
    rows = [
        {**descriptor(b"x"), "platform": {"os": "unknown", "architecture": "unknown"}},
        {**descriptor(b"x"), "platform": {"os": "plan9", "architecture": "mips"}},
    ]
    row = {**descriptor(image), "platform": {"os": system, "architecture": machine}}

    def serve(*entries: object) -> None:
        index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        whole = Response(200, (("Content-Type", INDEXES[0]),), index)
        part = Response(200, (("Content-Type", kind),), image)
        site.registry.interpose = lambda r: (
            None
            if "/blobs/" in r.target or not r.header("Authorization")
            else (whole if r.target.endswith("latest") else part)
        )

    serve(*rows, row)
    assert f"     it is an index, with an image for {this_platform()}" in site.pull()
    serve(*rows)
    sentence = site.fault(Cause.MANIFEST)
    assert sentence == f"there is no image for {this_platform()}; there are plan9/mips"


def test_check_asks_for_a_byte_of_each_blob(site: Site) -> None:
    """It finds what is missing, and downloads nothing."""
    assert "4. ask for the first byte of each blob" in site.pull(is_check=True)
    ranges = [r.header("Range") for r in site.storage.requests]
    assert ranges == ["bytes=0-0"] * 2
    site.let(site.registry, error(404, "BLOB_UNKNOWN", "blob unknown"), "/blobs/")
    assert "BLOB_UNKNOWN: blob unknown" in site.fault(Cause.STORAGE, is_check=True)


def test_token_that_ended_is_replaced(site: Site) -> None:
    """A pull may take longer than its token holds."""
    site.pull()
    count = len(site.tokens.requests)
    first = [error(401, "UNAUTHORIZED", "expired")]
    site.registry.interpose = lambda r: (
        first.pop() if first and "/blobs/" in r.target else None
    )
    site.pull()
    assert len(site.tokens.requests) == count + 2


# What is wrong, by cause.


@pytest.mark.parametrize("answer", [HTML, Response(404, (), b"404 page not found\n")])
def test_no_registry(site: Site, answer: Response) -> None:
    """A web server is not taken for a registry, and moves no cursor."""
    site.let(site.registry, answer)
    assert "REGISTRY is no registry: the registry REGISTRY answers 404 Not Found" in (
        site.fault(Cause.REGISTRY)
    )


def test_login_page_is_no_registry(site: Site) -> None:
    """Nor is a page that is answered with 200."""
    page = Response(200, (("Content-Type", "text/html"),), b"<html>log in</html>")
    site.let(site.registry, page)
    sentence = site.fault(Cause.REGISTRY)
    assert sentence.endswith("answers 200 OK, with an HTML page")


def test_challenge_missing(site: Site) -> None:
    """A 401 has to say where to log in."""
    site.let(site.registry, error(401, "UNAUTHORIZED", "no"))
    assert "answers 401 without a challenge" in site.fault(Cause.REALM)


def test_realm_relative(site: Site) -> None:
    """A realm is absolute."""
    site.challenge = 'Bearer realm="/auth",service="x"'
    assert site.fault(Cause.REALM) == (
        "the realm of the registry REGISTRY is no absolute URL: /auth"
    )


def test_realm_without_tls(tmp_path: Path) -> None:
    """A realm in plain HTTP behind TLS would show the login to everybody."""
    authority = Authority("Ours")
    trust = Trust(Path(authority.write_file(tmp_path / "ca.pem")))
    with sited(authority.server_context(tmp_path)) as site:
        sentence = site.fault(Cause.REALM, trust=trust)
        assert "speaks TLS, and its realm does not" in sentence
        assert site.pull(trust=Trust(is_insecure=True))


def test_realm_unreachable(site: Site) -> None:
    """It is said that it is the realm, and where that is."""
    site.challenge = 'Bearer realm="http://127.0.0.1:1/auth?hidden=1"'
    assert site.fault(Cause.REALM) == (
        "the token server that the registry's challenge names, at 127.0.0.1:1 refuses"
        " the connection"
    )


def test_realm_issues_nothing(site: Site) -> None:
    """Something else may be there."""
    site.let(site.tokens, HTML)
    assert site.fault(Cause.REALM) == (
        "the token server TOKENS answers 404 Not Found, with an HTML page, so no"
        " tokens are issued where the registry's challenge says"
    )
    site.let(site.tokens, Response(200, (), b"{}"))
    assert "without a token in it" in site.fault(Cause.REALM)


def reject(site: Site) -> None:
    """Let the registry take no token."""
    site.let_logged_in(lambda: error(401, "UNAUTHORIZED", "authentication required"))


def test_service_of_another(site: Site) -> None:
    """A token for another service is not taken."""
    site.claims["aud"] = "other.example"
    reject(site)
    assert site.fault(Cause.REALM).endswith(
        "the token is for the service other.example, and the registry is"
        " registry.example"
    )


def test_token_of_another_issuer(site: Site) -> None:
    """Where nothing else is wrong, the registry does not trust who issued it."""
    reject(site)
    assert "it does not take the token, which was issued" in site.fault(Cause.REALM)


@pytest.mark.parametrize(
    ("registry", "tokens", "whose"),
    [
        (-3600, 0, "the clock of the registry"),
        (0, 3600, "the clock of the token server"),
    ],
)
def test_clock(site: Site, registry: int, tokens: int, whose: str) -> None:
    """Whose clock is wrong is seen by those of all three."""
    now = time.time() + tokens
    site.claims |= {"nbf": int(now), "iat": int(now), "exp": int(now + 300)}
    refusal = error(401, "UNAUTHORIZED", "token not yet valid", dated(registry))
    site.let_logged_in(lambda: refusal)
    body = json.dumps({"token": jwt_of(site.claims)}).encode()
    site.let(site.tokens, Response(200, (dated(tokens),), body))
    with pytest.raises(Fault) as caught:
        site.pull()
    assert caught.value.cause is Cause.CLOCK
    assert str(caught.value).startswith(f"{whose} is 1 h ")
    assert "the token is valid from 20" in str(caught.value)
    assert "this machine's clock says 20" in str(caught.value)
    assert caught.value.advice == f"synchronise {whose} (NTP)"


@pytest.mark.parametrize(
    ("key", "ending"),
    [
        (KEY, "the login me from the caller is wrong, or has expired"),
        ("hunter2", "it does not look like a balena API key, which has 32 letters and"),
    ],
)
def test_login_wrong(site: Site, key: str, ending: str) -> None:
    """A password in place of a key is noticed, and neither is shown."""
    site.let(site.tokens, error(401, "UNAUTHORIZED", f"{key} is wrong"))
    sentence = site.fault(Cause.LOGIN, find_login=with_key(key))
    assert ending in sentence
    assert key not in sentence
    assert "(secret) is wrong" in sentence


def test_login_missing(site: Site) -> None:
    """Who sent none is told so, by the token server, the token or the registry."""
    site.let(site.tokens, Response(401, (), b'{"details": "log in"}'))
    assert site.fault(Cause.LOGIN) == (
        "the token server TOKENS answers 401 Unauthorized: log in, and no login was"
        " sent"
    )
    site.tokens.interpose = None
    site.claims["access"] = []
    reject(site)
    assert "without a login, the token has no right" in site.fault(Cause.LOGIN)
    site.let_logged_in(lambda: error(403, "DENIED", "private"))
    assert "403 DENIED: private; no login was sent" in site.fault(Cause.LOGIN)


def test_rights(site: Site) -> None:
    """A login that is right may have no right to the image."""
    site.claims["access"] = []
    reject(site)
    login = with_key(KEY)
    sentence = site.fault(Cause.RIGHTS, find_login=login)
    assert sentence.endswith(
        "the token has no right to pull org/app, nor anything else"
    )
    site.let_logged_in(lambda: error(403, "DENIED", "private"))
    sentence = site.fault(Cause.RIGHTS, find_login=login)
    assert sentence.endswith("the login was taken, and may not pull org/app")


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (error(404, "NAME_UNKNOWN", "no 9; newest 8"), Cause.RELEASE, "no 9; newest 8"),
        (error(404, "MANIFEST_UNKNOWN", "none"), Cause.MANIFEST, "404 MANIFEST_UNKN"),
        (error(400, "NAME_INVALID", "bad\x1b[2J"), Cause.NAME, r"bad\x1b[2J"),
        (Response(406), Cause.MANIFEST, "406 Not Acceptable"),
        (error(503, "UNAVAILABLE", "later"), Cause.REGISTRY, "503 UNAVAILABLE: later"),
        (error(429, "TOOMANYREQUESTS", "slow"), Cause.LIMIT, "the registry REGISTRY"),
    ],
)
def test_manifest_refused(
    site: Site, answer: Response, cause: Cause, words: str
) -> None:
    """The registry's words are shown, with who said them."""
    site.let_logged_in(lambda: answer)
    assert words in site.fault(cause)


@pytest.mark.parametrize("status", [503, 418])
def test_error_of_the_proxy(site: Site, status: int) -> None:
    """It is told from the registry behind it, and its log has the request by its id."""
    message = with_id("the registry behind it fails", "0c3032e4-5d61")
    site.let_logged_in(lambda: error(status, "UNKNOWN", message))
    with pytest.raises(Fault) as caught:
        site.pull()
    proxy = f"the proxy {site.registry.host}"
    assert str(caught.value).startswith(f"{proxy} answers ")
    assert caught.value.advice.endswith(
        f"look for 0c3032e4 in the log of {proxy}, or on its page of pulls"
    )


def test_rate_limit_of_the_token_server(site: Site) -> None:
    """It is told whose it is, and when to come again."""
    site.let(site.tokens, error(429, "TOOMANYREQUESTS", "slow", ("Retry-After", "7")))
    with pytest.raises(Fault, match=r"the token server .* answers 429") as caught:
        site.pull()
    assert caught.value.cause is Cause.LIMIT
    assert caught.value.advice.startswith("try again in 7 seconds")


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}", "schema "),
        ("application/vnd.example+json", b"{}", "the unknown type application/vnd.exa"),
        ("application/json", b'{"mediaType": "x/y"}', "the unknown type x/y"),
        ("application/json", b"nonsense", "is no JSON object"),
        (INDEXES[0], b'{"manifests": []}', "there are none at all"),
        ("", b'{"schemaVersion": 1}', "schema 1"),
        (
            "application/vnd.oci.image.manifest.v1+json",
            b'{"config": {"digest": "sha256:1", "size": -1}}',
            "names a part without digest or size",
        ),
    ],
)
def test_manifest_of_no_use(site: Site, kind: str, content: bytes, words: str) -> None:
    """What cannot be pulled is refused in words."""
    site.media_type, site.manifest = kind, content
    assert words in site.fault(Cause.MANIFEST)


def test_manifest_of_another_digest(site: Site) -> None:
    """It is checked against the digest in the reference, and the registry's own."""
    wanted = f"sha256:{'0' * 64}"
    reference = f"{site.registry.url}/{NAME}@{wanted}"
    sentence = site.fault(Cause.MANIFEST, reference)
    assert f"are not those of {wanted}, but have the digest" in sentence
    headers = (
        ("Content-Type", site.media_type),
        ("Docker-Content-Digest", wanted),
    )
    site.let_logged_in(lambda: Response(200, headers, site.manifest))
    assert wanted in site.fault(Cause.MANIFEST)


def test_storage_unreachable(site: Site) -> None:
    """It is told that it is the storage, and not the registry."""
    site.line.refuse()
    assert site.fault(Cause.STORAGE).startswith(
        "the storage that the registry redirects to, at 127.0.0.1:"
    )


def test_storage_refuses(site: Site) -> None:
    """What an S3 says of a URL that is too old is shown."""
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message>"
    site.let(site.storage, Response(403, (), body))
    assert site.fault(Cause.STORAGE).endswith(
        "answers 403 Forbidden: AccessDenied: Request has expired"
    )


def test_storage_has_other_bytes(site: Site) -> None:
    """A blob is checked by its digest and by its size."""
    site.blobs[digest_of(LAYER)] = LAYER[::-1]
    assert "has other bytes" in site.fault(Cause.STORAGE)
    site.blobs[digest_of(LAYER)] = LAYER + b"x"
    assert "is longer than the 256000 bytes" in site.fault(Cause.STORAGE)


def test_storage_ends_early(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that never comes whole is given up."""
    monkeypatch.setattr(blob, "PAUSE_SECONDS", 0)
    site.blobs[digest_of(LAYER)] = LAYER[:1000]
    assert "after 1000 of 256000 bytes, each time anew" in site.fault(Cause.STORAGE)


def test_redirects_in_a_circle(site: Site) -> None:
    """They are not followed for ever."""
    site.let(site.storage, Response(302, (("Location", "/again"),)))
    assert "redirects more than 5 times" in site.fault(Cause.STORAGE)
    site.let(site.registry, Response(302, (("Location", "ftp://x/y"),)), "/blobs/")
    assert site.fault(Cause.STORAGE).endswith("that nobody can ask: ftp://x/y")


def test_answer_too_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fills the memory with a manifest."""
    monkeypatch.setattr(connection, "BODY_MAX", 1000)
    site.manifest += b" " * 1000
    assert "is too long or too slow" in site.fault(Cause.NETWORK)


def test_layer_named_twice_is_fetched_once() -> None:
    """Empty layers are the same in many images, and many times in one."""
    with sited() as site:
        site.manifest = manifest_of(LAYER, CONFIG, LAYER)
        client = Client(lambda _: None)
        reference = parse_reference(f"{site.registry.url}/{NAME}")
        assert client.pull(reference) == len(LAYER) + len(CONFIG)
        assert len(site.storage.requests) == 2
