"""What clients do that want an image: they ask in every way there is, and verify it.

Of every alias it is known which image it stands for, so another one is noticed.
The locations are those of localcloud's catalog.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from localcloud.image import DOCKER_LIST, OCI_INDEX
from resolver.grammar.challenge import TOKEN_PATH
from soak.client import REGISTRY, Client, Ended
from soak.outcome import Question
from soak.reply import Check, Reply, wrong_digest
from soak.scene import LARGE

BROWSER = "balenablocks/browser-aarch64"
PRIVATE = "balenablocks/private-block"
NEWEST = "567e62d1e73529e7a31757ac1f3fb902"
PUBLIC = {
    BROWSER: NEWEST,
    f"{BROWSER}/latest": NEWEST,
    f"{BROWSER}/2.3.8": NEWEST,
    f"{BROWSER}/2.3": NEWEST,
    f"{BROWSER}/2.3.8_rev0": "1491e71e5fce93aa53ff96e0d993b5ae",
    f"{BROWSER}/11e1ee2": "1491e71e5fce93aa53ff96e0d993b5ae",
    f"{BROWSER}/2.3.8_rev1": "afcf4e176ef8e94685a9ded8ce9c68b4",
    f"{BROWSER}/2": "42a5403f721415ca8896ee84f840ba1b",
    f"{BROWSER}/1.7.0/helper": "5c3b79fc175eccf402eaf1f3e23cd692",
    f"{BROWSER}/2.4.1-1648554962021": "d5b846215f5554738ff927036128e276",
    f"{BROWSER}/2.1.0_build.5": "b95a1e8382cd2b02c704721592710535",
    f"{BROWSER}/{'d' * 32}": "27335e727ed3e899c9674b26c069a635",
    "balenablocks/pinned-app": "c94c117e5e15b559a011f53a01bf3a14",
    "balenablocks/multi-app/1.0.0/db": "d69138a48bbd061c296b23ca93c0512b",
    "balenablocks/mixedcase/2.0.0-rc1": "e8b14175ac84d166246e14d89a6ce2da",
    "otherorg/tracker": "c4b25908ae5a982e8faa2da9faf59b64",
    "otherorg/tracker/5": "dc8f1bfe00175d72b481a1a5badc85bb",
}
SECRET = {
    PRIVATE: "875ff9869a2373a5d97612c498e0bcf1",
    f"{PRIVATE}/1.0.0": "875ff9869a2373a5d97612c498e0bcf1",
}
SLASHES_OF_TAG = 2
"""In an alias whose last component may be a tag as well."""
READERS = ("carol", "admin", "device")
"""Whose keys open the private application."""
_REALM = re.compile(r'realm="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that can be had, and what is needed for it."""

    alias: str
    digest: str
    login: tuple[str, str] | None = None


def choose(client: Client) -> Wanted:
    """Return what the client is to pull: now and then something private, or large."""
    chance, scene = client.chance, client.scene
    if client.happens(0.1):
        return Wanted(LARGE, scene.images[scene.large].digest)
    is_private = client.happens(0.25)
    alias, location = chance.choice(list((SECRET if is_private else PUBLIC).items()))
    login = None
    if is_private:
        login = ("u", scene.cloud.keys[chance.choice(READERS)])
    return Wanted(alias, scene.images[f"v2/{location}"].digest, login)


def pull(client: Client) -> None:
    """Pull an image as docker does: challenge, token, manifest, blobs."""
    wanted = choose(client)
    _meet_challenge(client, wanted.alias)
    is_form = client.happens(0.2)
    token = client.get_token(wanted.alias, login=wanted.login, is_form=is_form)
    check = is_image(wanted.digest)
    client.get_manifest(wanted.alias, token, method="HEAD", check=check)
    _pull_blobs(client, wanted, token)


def pull_by_tag(client: Client) -> None:
    """Pull a release by its tag, as a challenge that names the tag's alias asks for."""
    names = [alias for alias in PUBLIC if alias.count("/") == SLASHES_OF_TAG]
    alias = client.chance.choice(names)
    digest = client.scene.images[f"v2/{PUBLIC[alias]}"].digest
    name, _, tag = alias.rpartition("/")
    token = client.get_token(name, alias)
    for reference in (tag, digest):
        client.get_manifest(name, token, reference, check=is_image(digest))


def pull_several(client: Client) -> None:
    """Pull images for which there is one token, as for a build of many stages."""
    chosen = [choose(client) for _ in range(client.chance.randint(2, 5))]
    # Beside a name with a selector, its application's is that of a tag (rule R9).
    wanted = [image for image in chosen if image.alias.count("/") >= SLASHES_OF_TAG]
    logins = [image.login for image in wanted if image.login]
    login = logins[0] if logins else None
    names = [image.alias for image in wanted]
    token = client.get_token(*names, f"{BROWSER}/9.9.9", login=login)
    for image in wanted:
        _pull_blobs(client, image, token)
    client.get_manifest(
        f"{BROWSER}/9.9.9", token, expected="404 NAME_UNKNOWN", needs=()
    )


def resume(client: Client) -> None:
    """Get a blob in two parts, as after a transfer that broke off; and beyond it."""
    wanted = choose(client)
    token = client.get_token(wanted.alias, login=wanted.login)
    blob = client.chance.choice(_blobs(client, wanted, token))
    digest, size = blob["digest"], blob["size"]
    middle = client.chance.randrange(1, size)
    parts = [
        client.get_blob(
            wanted.alias,
            token,
            digest,
            part=f"bytes={first}-{last}",
            expected="206",
            check=_has_length(length),
        ).content
        for first, last, length in (
            (0, middle - 1, middle),
            (middle, "", size - middle),
        )
    ]
    if wrong := wrong_digest(b"".join(parts), digest):
        client.tally.find(f"two parts of {wanted.alias}: {wrong}")
    client.get_blob(
        wanted.alias,
        token,
        digest,
        part=f"bytes={size + 1}-",
        expected="416 UNSUPPORTED",
    )


def look(client: Client) -> None:
    """Ask what there is, and pull nothing."""
    wanted = choose(client)
    token = client.get_token(wanted.alias, login=wanted.login)
    headers = {"Authorization": f"Bearer {token}"}
    # With a selector in the path a tag says nothing; else there is none such (R9).
    selects = wanted.alias.count("/") < SLASHES_OF_TAG
    client.get_manifest(
        wanted.alias,
        token,
        "v1.2.3",
        method="HEAD",
        expected="401" if selects else "200",
        check=None if selects else is_image(wanted.digest),
    )
    for path in (
        f"/v2/{wanted.alias}/tags/list",
        f"/v2/{wanted.alias}/referrers/{wanted.digest}",
    ):
        question = Question(f"GET {path}", ("200",), REGISTRY)
        client.ask(question, path, headers=headers, check=_names_no_location)


def is_image(digest: str) -> Check:
    """Return what sees that a manifest is the one with the digest, and no other."""

    def check(reply: Reply) -> str:
        said = reply.headers.get("Docker-Content-Digest")
        if said != digest:
            return f"wrong image {said}"
        return wrong_digest(reply.content, digest) if reply.content else ""

    return check


def _meet_challenge(client: Client, alias: str) -> None:
    """Ask without a token, and be sent to the proxy's own token endpoint."""

    def check(reply: Reply) -> str:
        realm = _REALM.search(reply.headers.get("WWW-Authenticate", ""))
        is_ours = realm and realm[1] == client.scene.url + TOKEN_PATH
        return "" if is_ours else "its challenge leads elsewhere"

    path = client.chance.choice(["/v2/", f"/v2/{alias}/manifests/latest"])
    question = Question(f"GET {path}", ("401 UNAUTHORIZED",), REGISTRY)
    client.ask(question, path, check=check)


def _blobs(client: Client, wanted: Wanted, token: str) -> list[dict[str, Any]]:
    """Return what the manifest names; of an index, what its first manifest does."""
    reply = client.get_manifest(wanted.alias, token, check=is_image(wanted.digest))
    manifest = json.loads(reply.content)
    if manifest["mediaType"] in (DOCKER_LIST, OCI_INDEX):
        digest = manifest["manifests"][0]["digest"]
        reply = client.get_manifest(wanted.alias, token, digest, check=is_image(digest))
        manifest = json.loads(reply.content)
    return [manifest["config"], *manifest["layers"]]


def _pull_blobs(client: Client, wanted: Wanted, token: str) -> None:
    for blob in _blobs(client, wanted, token):
        if client.over.is_set():
            raise Ended
        client.get_blob(wanted.alias, token, blob["digest"])
    client.tally.pulled()


def _has_length(length: int) -> Check:
    def check(reply: Reply) -> str:
        found = len(reply.content)
        return "" if found == length else f"{found} bytes in place of {length}"

    return check


def _names_no_location(reply: Reply) -> str:
    return (
        "it names a location" if re.search(rb"v2/[0-9a-f]{32}", reply.content) else ""
    )
