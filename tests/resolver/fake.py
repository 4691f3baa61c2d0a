"""What the tests share: a network that answers from a dict, and what it says."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from resolver.grammar.endpoint import Base, Content, parse_endpoint
from resolver.grammar.reference import Location
from resolver.release.candidate import Candidate, Candidates
from resolver.release.release import SUCCESS, Image, Release
from resolver.token.claims import Token, parse_token
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import Event
from resolver.upstream.transport import Answer

REGISTRY = "https://registry2.example.com"
REGISTRY_HOST = "registry2.example.com"
API = "https://api.example.com"
SLUG = "balenablocks/browser-aarch64"
HASH = "567e62d1e73529e7a31757ac1f3fb902"
LOCATION = f"v2/{HASH}"
COMMIT = "b4b201f0003841fd5509c6d06b45899b"
DIGEST = "sha256:" + "a1" * 32
ISSUED, EXPIRES = 1795454692, 1795469092
CHALLENGE = (
    f'Bearer realm="{API}/auth/v1/token",service="{REGISTRY_HOST}",'
    'scope="repository:a/b:pull"'
)
SOON = Deadline(at=10.0, clock=lambda: 0.0)
"""A deadline that never comes nearer."""

Reply = Answer | Exception | Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that was made."""

    url: str
    authorization: str | None

    @property
    def scopes(self) -> list[str]:
        """The scopes of a token request."""
        return [value for name, value in self.query if name == "scope"]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters."""
        return parse_qsl(urlsplit(self.url).query)


class Notes:
    """Keeps the events that it is told of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)


class FakeTransport:
    """Answers a GET by the first part that its URL contains, and notes it."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self.replies = dict(replies)
        self.sent: list[Sent] = []

    def get(
        self,
        url: str,
        *,
        authorization: str | None = None,
        deadline: Deadline,  # noqa: ARG002 - the real one's signature
    ) -> Answer:
        """Return what the dict says, or raise it."""
        self.sent.append(Sent(url, authorization))
        for part, reply in self.replies.items():
            if part in url:
                if isinstance(reply, Exception):
                    raise reply
                return reply if isinstance(reply, Answer) else reply(url)
        raise AssertionError(f"nobody expected {url}")

    def count(self, part: str) -> int:
        """Return how many requests went to URLs that contain the part."""
        return sum(part in request.url for request in self.sent)


def answer(
    payload: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, dict(headers or {}), json.dumps(payload).encode())


def rows(*found: object) -> Answer:
    """Return an answer of the OData side."""
    return answer({"d": found})


def challenged(header: str = CHALLENGE, status: int = 401) -> Answer:
    """Return the registry's answer to a request without a token."""
    return answer({"errors": []}, status, {"WWW-Authenticate": header})


def grant(url: str) -> Answer:
    """Return a token for all that is asked for, as the token endpoint does."""
    asked = Sent(url, None).scopes
    return answer({"token": jwt(pullable(scope.split(":")[1] for scope in asked))})


def pullable(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the access list with which these repositories can be pulled from."""
    return [{"type": "repository", "name": n, "actions": ["pull"]} for n in names]


def jwt(access: object = (), **claims: object) -> str:
    """Return a JWT such as the API issues; nobody here checks its signature."""
    payload = {"iat": ISSUED, "exp": EXPIRES, "access": access, **claims}
    return f"{base64url({'alg': 'ES256'})}.{base64url(payload)}.c2lnbmF0dXJl"


def base64url(payload: object) -> str:
    """Return the payload's JSON in base64url without padding."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def basic(user: str, password: str) -> str:
    """Return the header of Basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def image_row(
    name: str = HASH,
    service: str = "main",
    status: str = "success",
    host: str = REGISTRY_HOST,
) -> dict[str, Any]:
    """Return an image as it stands in an answer of the API."""
    return {
        "id": 30,
        "status": status,
        "is_stored_at__image_location": f"{host}/v2/{name}",
        "content_hash": DIGEST,
        "is_a_build_of__service": [{"service_name": service}],
    }


def release_row(
    raw_version: str = "2.3.8+rev2",
    revision: int | None = 2,
    *images: dict[str, Any],
    **fields: object,
) -> dict[str, Any]:
    """Return a release as it stands in an answer of the API."""
    row: dict[str, Any] = {
        "id": 30,
        "commit": COMMIT,
        "raw_version": raw_version,
        "semver": raw_version.partition("+")[0],
        "revision": revision,
        "variant": "",
        "status": "success",
        "is_invalidated": False,
        "is_passing_tests": True,
        "release_image": [
            {"id": 31, "image": [image]} for image in images or (image_row(),)
        ],
    }
    return row | fields


def versions_row(*raw_versions: str) -> dict[str, Any]:
    """Return an application with these final releases, the first one its target."""
    found = [
        release_row(version, int(version.partition("+rev")[2] or 0))
        for version in raw_versions
    ]
    return {
        "slug": SLUG,
        "should_be_running__release": found[:1],
        "owns__release": found,
    }


def target_row(release: dict[str, Any] | None) -> dict[str, Any]:
    """Return an application with its target release."""
    linked = [] if release is None else [release]
    return {"slug": SLUG, "should_be_running__release": linked}


def fixed(place: str = LOCATION) -> Candidates:
    """Return what an alias with a selector has: one, whatever the tag."""
    return Candidates((Candidate(Location(place)),))


def candidate(
    raw_version: str = "2.3.8+rev2",
    place: str | None = LOCATION,
    *services: str,
    is_target: bool = False,
    **fields: Any,
) -> Candidate:
    """Return a release that tags select, as the API has it; a draft has a time."""
    version, _, build = raw_version.partition("+")
    parts = build.split(".") if build else []
    revisions = [part for part in parts if part.startswith("rev")]
    rest = ".".join(part for part in parts if part not in revisions)
    is_draft = "-1648" in raw_version
    values: dict[str, Any] = {
        "id": 7,
        "commit": COMMIT,
        "raw_version": raw_version,
        "semver": f"{version}+{rest}" if rest else version,
        "revision": None if is_draft else int(revisions[0][3:]) if revisions else 0,
        "variant": "",
        "status": SUCCESS,
        "is_invalidated": False,
        "is_passing_tests": True,
        "images": tuple(Image("", s, SUCCESS, None) for s in services or ("main",)),
    }
    location = None if place is None or services else Location(place)
    return Candidate(location, Release(**values | fields), is_target)


def endpoint(path: str) -> Base | Content:
    """Return what the path under /v2/ is for."""
    found = parse_endpoint("GET", f"/v2/{path}")
    assert isinstance(found, Base | Content)
    return found


def location_of(token: Token | str, alias: str) -> str | None:
    """Return the location that a token carries for the alias; raise its refusal."""
    token = parse_token(token) if isinstance(token, str) else token
    if refusal := token.refusal(alias):
        raise refusal
    found = token.candidates(alias)
    return found.locations[0] if found else None


def ident(value: object) -> str:
    """Return a case's value as the id of its test, cut where it is very long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:40]}...{len(text)}"
