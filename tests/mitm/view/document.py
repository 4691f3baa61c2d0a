"""Manifests and indexes, and what is shown of them."""

import json
from typing import Any

from localcloud import LocalCloud
from localcloud.issuer import Access
from mitm.story.record import Kind
from tests.localcloud.client import Answer, ask
from tests.mitm.view.sample import make_flow, shown, squeezed
from tests.resolver.fake import DIGEST

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
PATH = "/v2/org/app/manifests/latest"


def descriptor(size: object = 1234, **fields: object) -> dict[str, Any]:
    """Return a reference to a layer."""
    return {"mediaType": LAYER, "size": size, "digest": DIGEST, **fields}


def manifest(**fields: object) -> dict[str, Any]:
    """Return a manifest of one layer."""
    config = descriptor(500, mediaType=CONFIG)
    return {"schemaVersion": 2, "config": config, "layers": [descriptor()], **fields}


def index(*entries: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Return an index."""
    return {"schemaVersion": 2, "manifests": entries, **fields}


def described(
    document: object, content_type: str = "", path: str = PATH, **headers: str
) -> list[str]:
    """Return the lines that are shown of the document."""
    body = json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    flow = make_flow(
        Kind.MANIFEST, path, body=body, content_type=content_type, headers=named
    )
    view, text = shown(flow)
    assert view == "registry manifest"
    return squeezed(text)


def pulled(cloud: LocalCloud, repository: str, path: str) -> Answer:
    """Return what the registry answers about an image."""
    token = cloud.issuer.issue("", [Access(repository, ("pull",))])
    headers = {"Authorization": f"Bearer {token}"}
    return ask(cloud.registry_url, f"/v2/{repository}/{path}", headers)


def seen(answer: Answer, kind: Kind, path: str) -> list[str]:
    """Return the lines that are shown of the registry's answer."""
    headers = dict(answer.headers.items())
    content_type = headers.pop("Content-Type")
    flow = make_flow(
        kind, path, body=answer.body, content_type=content_type, headers=headers
    )
    view, text = shown(flow)
    assert view == "registry manifest"
    return squeezed(text)


def rows(lines: list[str]) -> list[str]:
    """Return the rows of the table."""
    begin = next(n for n, line in enumerate(lines) if line.startswith("# "))
    numbered = (str(number) for number in range(1, len(lines)))
    return [
        line
        for line, number in zip(lines[begin + 1 :], numbered, strict=False)
        if line.startswith(f"{number} ")
    ]
