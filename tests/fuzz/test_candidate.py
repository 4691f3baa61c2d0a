"""A tag finds what the path finds, or nothing, on the API's own answers (rule R9)."""

from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from localcloud import LocalCloud
from localcloud.release import AddedRelease
from resolver.errors import Refusal, ReleaseUnknown, TagUnknown
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.reference import Alias, Location, Slug, parse_alias, parse_tag
from resolver.release.candidate import Candidates
from resolver.release.resolution import ApiResolver, Resolution, candidates_of
from resolver.token.claims import append_aliases, parse_token
from resolver.token.suffix import Aliases
from resolver.upstream.api import Api
from resolver.upstream.deadline import Deadline
from resolver.upstream.transport import Transport, Verification
from tests.fuzz.profile import FUZZ, SECONDS
from tests.resolver.fake import jwt, pullable

SEARCH = settings(
    FUZZ, max_examples=40 if SECONDS else 5, phases=[Phase.explicit, Phase.generate]
)
"""An example asks the API some fifty times, so that shrinking one takes minutes."""
KEYWORDS = ("latest", "current", "Default", "pinned")
TAGS_MAX = 6
type Fields = dict[str, Any]


class World:
    """An API to which applications are added, asked as the proxy asks it."""

    def __init__(self, cloud: LocalCloud, transport: Transport) -> None:
        self._cloud = cloud
        self._api = Api(cloud.api_url, transport)
        self._numbers = count(1)

    def add(
        self, *releases: Fields, target: int | None = None
    ) -> tuple[Alias, list[AddedRelease]]:
        """Add an application with these releases, of which one may be its target."""
        slug = f"fuzz/app{next(self._numbers)}"
        self._cloud.add_application(slug)
        added = [
            self._cloud.add_release(slug, is_target=number == target, **fields)
            for number, fields in enumerate(releases)
        ]
        return Alias(Slug(slug)), added

    def candidates(self, alias: Alias, tags: int) -> Candidates:
        """Return what the tags select among."""
        try:
            return self._resolve(alias, tags).candidates
        except Refusal as refusal:
            return candidates_of(refusal) or Candidates(is_whole=False)

    def by_path(self, alias: Alias, tag: str) -> Location | None:
        """Return what the path of the tag leads to, if it does."""
        with suppress(ReleaseUnknown):
            return self._resolve(parse_alias(f"{alias}/{tag.lower()}"), 0).location
        return None

    def _resolve(self, alias: Alias, tags: int) -> Resolution:
        resolver = ApiResolver(self._api, {self._cloud.registry_host}, tags=tags)
        return resolver.resolve(alias, ANONYMOUS, Deadline.after(10))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Yield an API without applications of ours."""
    with (
        LocalCloud(publish=False, serve_registry=False) as cloud,
        closing(Transport(Verification())) as transport,
    ):
        yield World(cloud, transport)


def carry(candidates: Candidates, alias: Alias) -> Candidates:
    """Return what is read of them in the token that carries them."""
    access = jwt(pullable(candidates.locations))
    token = append_aliases(access, Aliases({str(alias): candidates}))
    return parse_token(token).candidates(str(alias)) or Candidates(is_whole=False)


def by_tag(candidates: Candidates, alias: Alias, tag: str) -> Location | None:
    """Return what the tag picks; where the target is alone only keywords mean it."""
    if candidates.is_fixed and tag not in KEYWORDS:
        return None
    with suppress(TagUnknown):
        pick = candidates.pick(alias, tag)
        return pick.location if pick else None
    return None


def tags_of(release: AddedRelease) -> set[str]:
    """Return tags that mean the release, or another one, or none."""
    raw = release.raw_version
    version, core = raw.partition("+")[0], raw.partition("+")[0].partition("-")[0]
    major, minor, _ = core.split(".")
    exact = {raw.replace("+", "_"), f"{version}_rev0", f"{version}_rev1"}
    ranges = {major, f"{major}.x", f"{major}.{minor}", f"v{major}"}
    commits = {release.commit, release.commit[:9]}
    return exact | {each.lower() for each in exact} | ranges | commits | {version, core}


PATCHES = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1))
SUFFIXES = st.sampled_from(["", "", "", "-RC.1", "-rc.2", "+b.1", "+B.2"])
VERSIONS = st.builds(lambda n, s: f"{'.'.join(map(str, n))}{s}", PATCHES, SUFFIXES)
RELEASES = st.lists(
    st.fixed_dictionaries(
        {"version": VERSIONS},
        optional={
            "is_draft": st.booleans(),
            "variant": st.sampled_from(["", "prod"]),
            "is_invalidated": st.booleans(),
            "is_passing_tests": st.booleans(),
            "status": st.sampled_from(["success", "failed"]),
            "image_status": st.sampled_from(["success", "failed"]),
            "services": st.sampled_from([("main",), ("web", "db")]),
        },
    ),
    min_size=1,
    max_size=7,
)


@given(releases=RELEASES, target=st.integers(0, 8))
@example([{"version": f"{n}.0"} for n in ("0.0", "0.1", "1.0", "1.1")], 0)
@example([{"version": f"1.0.0{build}"} for build in ("", "+b.1", "+b.2")], 2)
@example([{"version": "1.0.0"}, {"version": "1.0.0"}, {"version": "1.1.0"}], 0)
@SEARCH
def test_tag_finds_what_the_path_finds(
    world: World, releases: list[Fields], target: int
) -> None:
    """However few the candidates: the same image as by path, or none."""
    alias, added = world.add(*releases, target=target)
    drafts = {
        image.repository
        for fields, release in zip(releases, added, strict=True)
        if fields.get("is_draft")
        for image in release.images
    }
    tags = {tag for release in added for tag in tags_of(release)}
    paths = {tag: world.by_path(alias, tag) for tag in [*sorted(tags), *KEYWORDS]}
    for size in range(1, TAGS_MAX + 1):
        whole = world.candidates(alias, size)
        for room in range(1, size + 1):
            candidates = carry(whole.cut(room), alias)
            assert len(candidates) <= room
            for tag, location in paths.items():
                picked = by_tag(candidates, alias, tag)
                assert picked in (location, None), (size, room, tag)
                is_whole = candidates.is_whole and not candidates.is_fixed
                if tag in KEYWORDS or (is_whole and location not in drafts):
                    assert picked == location, (size, room, tag)
            for tag in candidates.tags():
                assert parse_tag(tag)
                assert by_tag(candidates, alias, tag), (size, room, tag)


def finals(count: int) -> list[Fields]:
    """Return so many final releases, the least first."""
    return [{"version": f"1.{number}.0"} for number in range(count)]


def drafts(count: int, version: str = "1.5.0") -> list[Fields]:
    """Return so many drafts; the API tells them apart by their time alone."""
    return [
        {"version": version, "is_draft": True, "raw_version": f"{version}-16480{n}"}
        for n in range(count)
    ]


CROWDED = [each for one in finals(10) for each in (*drafts(8, one["version"]), one)]
OLD = [{"version": "0.9.0"}, {"version": "0.9.0"}, *finals(40)]
LATE = [*drafts(9), *finals(40)]
CASES: dict[str, tuple[list[Fields], int, list[str]]] = {
    "8 drafts before each of 10 finals": (CROWDED, 89, ["1", "1.x", "1.0", "1.9.0"]),
    "pinned to an old revision": (OLD, 0, ["latest", "0.9.0", "0.9.0_rev0", "1"]),
    "pinned to a draft": (LATE, 4, ["latest", "1.5.0-164804", "1"]),
    "one version": ([{"version": "0.0.0"}] * 60, 59, ["0", "0.0.0", "0.0.0_rev50"]),
}


@pytest.mark.parametrize(("releases", "target", "tags"), CASES.values(), ids=[*CASES])
def test_tag_finds_no_less(
    world: World, releases: list[Fields], target: int, tags: list[str]
) -> None:
    """Among many releases a tag finds what the path does."""
    alias, added = world.add(*releases, target=target)
    candidates = carry(world.candidates(alias, 20), alias)
    for tag in tags:
        location = world.by_path(alias, tag)
        assert location == by_tag(candidates, alias, tag), tag
        assert location, tag
    pinned = added[target].raw_version.replace("+", "_")
    assert {pinned, f"{pinned}_rev0"} & {*candidates.tags()}
