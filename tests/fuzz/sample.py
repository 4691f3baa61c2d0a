"""What the API says of the measured catalog, as answers that are changed a little."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from localcloud.catalog import Row, load_catalog
from resolver.grammar.reference import Alias, Slug
from resolver.upstream.transport import Answer
from tests.fuzz.strategy import JSON, mutated, mutated_json
from tests.resolver.fake import HASH, SLUG, answer

_CATALOG = load_catalog()
_FIELDS = (
    *("id", "commit", "raw_version", "semver", "revision", "variant", "status"),
    *("is_invalidated", "is_passing_tests"),
)


def _image(number: object) -> dict[str, Any]:
    """Return an image with its service, as a query for releases shows it."""
    image = _find("image", number)
    service = _find("service", image["is_a_build_of__service"])
    fields = ("id", "status", "is_stored_at__image_location", "content_hash")
    named = [{"service_name": service["service_name"]}]
    return {name: image[name] for name in fields} | {"is_a_build_of__service": named}


def _releases() -> Iterator[dict[str, Any]]:
    """Yield each release with its images."""
    for row in _CATALOG["release"]:
        links = [
            {"id": link["id"], "image": [_image(link["image"])]}
            for link in _CATALOG["release_image"]
            if link["is_part_of__release"] == row["id"]
        ]
        yield {name: row[name] for name in _FIELDS} | {"release_image": links}


def _find(resource: str, number: object) -> Row:
    return next(row for row in _CATALOG[resource] if row["id"] == number)


RELEASES = tuple(_releases())
"""Good and failed ones, finals, drafts, several images: as the API answered them."""

COMPONENT = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
KEYWORDS = st.sampled_from([None, "latest", "1", "2", "2.3", "2.9.x", "v3", "9" * 11])
CUTS = ((5, ""), (3, ""), (3, ".x"), (1, ""), (7, ""), (6, ""))
"""Of a raw version or commit: what else it may be asked for by."""
PIECES = ("v", ".x", "_rev1", "_rev0", "-rc.1", ".0", "9.9.9")
SERVICES = st.sampled_from([None, None, None, "main", "helper", "nope"])
RELEASE = st.integers(0, len(RELEASES) - 1).map(lambda i: deepcopy(RELEASES[i]))
ODD_FIELDS = st.dictionaries(
    st.sampled_from(sorted(RELEASES[0])),
    JSON | st.sampled_from(["1.0", "01.2.3", "2.3.8-RC1", "success", HASH, [], {}]),
    max_size=2,
)
SOUND = st.lists(RELEASE, max_size=5)
ODD = st.lists(
    RELEASE | st.builds(lambda row, fields: row | fields, RELEASE, ODD_FIELDS),
    max_size=5,
)


@st.composite
def questions(
    draw: st.DrawFn, releases: st.SearchStrategy[list[Any]]
) -> tuple[Alias, list[Any]]:
    """Return a name, and releases of which it may mean one."""
    rows = draw(releases)
    own = [str(row[field]) for row in rows for field in ("raw_version", "commit")]
    cut = [f"{text[:end]}{tail}" for text in own for end, tail in CUTS]
    words = [text.replace("+", "_").lower() for text in [*own, *cut]]
    known = st.sampled_from(words or ["latest"])
    selector = draw(KEYWORDS | known | known | mutated(known, PIECES))
    if selector is None or not COMPONENT.fullmatch(selector):
        return Alias(Slug(SLUG)), rows
    return Alias(Slug(SLUG), selector, draw(SERVICES)), rows


def linked(rows: list[Any]) -> list[Any]:
    """Return the application with the first release as its target."""
    return [{"slug": SLUG, "should_be_running__release": rows[:1]}]


def newest(rows: list[Any]) -> list[Any]:
    """Return the application with the first release as its target, and with all."""
    return [linked(rows)[0] | {"owns__release": rows}]


def answers(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[Answer]:
    """Return answers with the rows, or nearly so, or with anything else."""
    payloads = mutated_json(rows.map(lambda found: {"d": found}))
    texts = mutated(payloads.map(json.dumps), ('"', "[", "{", "9" * 5000, "\0"))
    sound, nearly = rows.map(lambda found: answer({"d": found})), payloads.map(answer)
    return st.one_of(
        *(sound, sound, sound, nearly, nearly, nearly),
        JSON.map(answer),
        JSON.map(lambda found: answer({"d": found})),
        texts.map(lambda text: Answer(200, {}, text.encode())),
        st.builds(answer, payloads, st.sampled_from([204, 401, 404, 429, 500])),
        st.just(Answer(200, {}, b"[" * 12000)),
    )


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Alias, Answer, Answer, Answer]:
    """Return a name, and what the API answers to the queries for it."""
    alias, rows = draw(questions(ODD))
    found = draw(answers(st.just(rows)))
    target, versions = answers(st.just(linked(rows))), answers(SOUND.map(newest))
    return alias, found, draw(target), draw(versions)
