"""The view of an image manifest: what it is, and what it consists of.

Whether its digest is right is seen as well, of a manifest and of an index.

https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from mitm.story.kind import Kind
from mitm.story.quantity import exact_size
from mitm.view import media_type
from mitm.view.body import Body, View
from mitm.view.descriptor import (
    COLUMNS,
    annotations,
    entries,
    read_descriptor,
    read_descriptors,
    total,
    types,
)
from mitm.view.index import describe_index
from mitm.view.line import fields, rest, section, shown, table

_DIGEST_HEADER = "Docker-Content-Digest"
_FIELDS = frozenset({"schemaVersion", "manifests", "layers", "config"})
_VERSION = re.compile(rb'"schemaVersion"\s*:')


class ManifestView(View):
    """What a registry answers to a request for a manifest, or for referrers."""

    name = "registry manifest"

    def fits(self, body: Body) -> bool:
        """Return whether it is one, by its type or by how it begins."""
        if not body.is_object or not 0 < body.status < HTTPStatus.BAD_REQUEST:
            return False
        if body.media_type in media_type.MANIFESTS:
            return True
        return (
            body.kind == Kind.MANIFEST
            and body.media_type not in media_type.OBSOLETE
            and bool(_VERSION.search(body.data))
        )

    def describe(self, body: Body) -> list[str]:
        """Return what it is and, in a table, what it refers to."""
        document = body.read_object()
        if not document.keys() & _FIELDS:
            raise ValueError("neither a manifest nor an index")
        stated = document.get("mediaType") or body.media_type
        is_index = "manifests" in document or stated in media_type.INDEXES
        facts = [
            ("type", shown(stated or "not said")),
            *_contradictions(body, document),
            *_digests(body),
            ("size", exact_size(len(body.data))),
        ]
        if is_index:
            return [_title(stated, "index"), *fields(facts), *describe_index(document)]
        return [
            _title(stated, "manifest"),
            *fields([*facts, *_image_facts(document)]),
            *_layers(document),
        ]


def _title(stated: object, structure: str) -> str:
    name = media_type.MANIFESTS.get(stated) if isinstance(stated, str) else None
    return name or f"image {structure}"


def _contradictions(body: Body, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what makes clients take one document for two, or refuse it."""
    found = []
    stated = document.get("mediaType")
    if body.media_type and stated and stated != body.media_type:
        found.append(("but", f"the Content-Type header says {shown(body.media_type)}"))
    if "manifests" in document and document.keys() & {"layers", "config"}:
        found.append(("but", "it has layers or a config as well, so clients refuse it"))
    return found


def _digests(body: Body) -> list[tuple[str, str]]:
    """Return the digest, and whether it is the one that was told or asked for."""
    stated = body.header(_DIGEST_HEADER)
    path = body.flow.request.path if body.flow else ""
    asked = path.partition("?")[0].rpartition("/manifests/")[2]
    algorithm = "sha512" if stated.startswith("sha512:") else "sha256"
    digest = f"{algorithm}:{hashlib.new(algorithm, body.data).hexdigest()}"
    if not stated:
        verdict = f"computed; the answer has no {_DIGEST_HEADER}"
    elif stated == digest:
        verdict = f"computed, and the same as {_DIGEST_HEADER}"
    else:
        verdict = f"computed; WRONG, {_DIGEST_HEADER} is {shown(stated)}"
    found = [("digest", digest), ("", verdict)]
    if asked.startswith(f"{algorithm}:") and asked != digest:
        found.append(("", f"WRONG, the client asked for {shown(asked)}"))
    return found


def _image_facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = read_descriptor(document.get("config"))
    digest, rest_of_config = config.facts
    found = [("config", digest), ("", rest_of_config)]
    if config.entry.get("mediaType") in media_type.IMAGE_CONFIGS:
        found.append(("platform", "not in a manifest: it stands in the config blob"))
    if "artifactType" in document:
        found.append(("artifact", shown(document["artifactType"])))
    if "subject" in document:
        digest, rest_of_subject = read_descriptor(document["subject"]).facts
        found += [("subject", digest), ("", rest_of_subject)]
    return found


def _layers(document: Mapping[str, Any]) -> list[str]:
    listed = entries(document.get("layers"))
    layers = read_descriptors(listed)
    rows = [(str(number), *layer.row) for number, layer in enumerate(layers, 1)]
    lines = [*table(("#", *COLUMNS), rows, right=(0, 2, 3)), *rest(listed)]
    return [
        *section(total("layer", listed), lines if rows else ["  none"]),
        *types(layers),
        *annotations(document, layers),
    ]
