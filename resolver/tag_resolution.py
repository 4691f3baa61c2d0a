"""Decides which releases of an application its tags select among.

One API request brings the target release and the greatest versions. Of these the
table of a token has the target release, the greatest final ones, and a few drafts, as
many as there is room for: each costs 180 bytes of the header in which a client sends
its token with every request.

Greatest, not latest: if a release of an old line could push a greater one out of the
table, `2` would find the wrong one. What is not in it is refused, and found by path.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from resolver import query
from resolver.api import Api
from resolver.credential import Credential
from resolver.deadline import Deadline
from resolver.errors import Refusal, ReleaseUnknown
from resolver.reference import Alias
from resolver.release import Release, parse_tagged_releases
from resolver.resolution import TARGET_REASON, ApiResolver, Resolution, denied
from resolver.selection import select_image
from resolver.tag_table import TagEntry, TagTable, rank

WINDOW_FACTOR = 3
"""How many releases are looked at for each one in the table: drafts are among them."""
DRAFTS_PART = 4
"""One in so many releases of a table may be a draft where there are enough finals."""


@dataclass(frozen=True, slots=True)
class TagResolution:
    """What the tags of an alias without selector came to."""

    alias: Alias
    target: Resolution | Refusal
    """What `latest` stands for, or why for nothing."""
    ranked: tuple[TagEntry, ...]
    """As in a `TagTable`."""
    exact: tuple[TagEntry, ...]
    """Likewise, the latest first."""
    is_whole: bool

    def __len__(self) -> int:
        """Return the number of releases."""
        return len(self.ranked) + len(self.exact)

    def __str__(self) -> str:
        """Return what `latest` is, for a log."""
        found = self.target if isinstance(self.target, Resolution) else "no target"
        return f"{found}, {len(self)} releases for tags"

    def table(self, count: int) -> TagTable:
        """Return the table with so many releases at most."""
        exact = self.exact[: _exact_count(count, len(self.ranked))]
        ranked = self.ranked[: count - len(exact)]
        entry = self._target_entry()
        if entry and all(e.release.id != entry.release.id for e in ranked):
            others = [e for e in exact if e.release.id != entry.release.id]
            exact = (entry, *others)[: max(1, len(exact))]
            ranked = ranked[: count - len(exact)]
        is_all = len(ranked) + len(exact) >= len(self)
        return TagTable(ranked, exact, self.is_whole and is_all)

    def _target_entry(self) -> TagEntry | None:
        if isinstance(self.target, Refusal):
            return None
        return TagEntry(self.target.release, self.target.location)


class TagResolver:
    """Asks the API each time, with the client's own credential (rule S11)."""

    def __init__(self, api: Api, resolver: ApiResolver) -> None:
        self._api = api
        self._resolver = resolver

    def resolve(
        self, alias: Alias, count: int, credential: Credential, deadline: Deadline
    ) -> TagResolution:
        """Return the releases of an alias without selector, for tables of that size.

        Raises:
            Refusal: the client can pull none of them.
            RateLimited: the API limits the rate.
            ServiceUnavailable: the API fails, or does not answer in time.

        """
        window = count * WINDOW_FACTOR
        # One more than looked at, to know whether there are more.
        asked = query.tagged_releases(alias.slug, window + 1)
        applications = parse_tagged_releases(
            self._api.query(asked, credential, deadline)
        )
        if not applications:
            raise denied(alias.slug)
        target, releases = applications[0]
        is_whole = len(releases) <= window
        ranked = rank(self._entries(_gapless(releases, is_whole=is_whole)))
        numbers = {entry.release.id for entry in ranked}
        beside = {release.id: release for release in (*releases, target) if release}
        exact = self._entries(r for n, r in beside.items() if n not in numbers)
        exact.sort(key=lambda entry: entry.release.id, reverse=True)
        found = self._target(alias, target, TagTable(tuple(ranked), tuple(exact)))
        if isinstance(found, Refusal) and not (ranked or exact):
            for release in filter(_is_pullable, releases):
                self._resolver.location(alias, release.images[0])  # It is elsewhere.
            raise found
        # It is remembered, so no more than any table can be made of.
        few = exact[: _exact_count(count, len(ranked))]
        is_all = is_whole and len(ranked) <= count and len(exact) == len(few)
        return TagResolution(alias, found, tuple(ranked[:count]), tuple(few), is_all)

    def _target(
        self, alias: Alias, release: Release | None, table: TagTable
    ) -> Resolution | Refusal:
        """Return what `latest` stands for (rules S1 and S8)."""
        if release is None or not release.is_pullable:
            newest = ", ".join(islice(table.tags(alias.slug), query.NEWEST_COUNT))
            there_are = f"its newest are {newest}" if newest else "it has no release"
            return ReleaseUnknown(
                f"{alias.slug} has no target release that can be pulled; {there_are}"
            )
        try:
            image = select_image(alias, release)
            location = self._resolver.location(alias, image)
        except Refusal as refusal:
            # It is kept, and whoever met it need not be kept with it.
            return refusal.with_traceback(None)
        return Resolution(alias, release, image, location, TARGET_REASON)

    def _entries(self, releases: Iterable[Release]) -> list[TagEntry]:
        """Return those that can be pulled; others have no image, or elsewhere."""
        found: list[TagEntry] = []
        for release in filter(_is_pullable, releases):
            if len(release.images) > 1:
                found.append(TagEntry(_slim(release), None))
            elif location := self._resolver.find_location(release.images[0]):
                found.append(TagEntry(_slim(release), location))
        return found


def _gapless(releases: Sequence[Release], *, is_whole: bool) -> list[Release]:
    """Return the releases of those versions of which all are there.

    The last version was cut where there are more. Where it is the only one, as where
    nobody counts versions up, its latest releases have to do.
    """
    if is_whole:
        return list(releases)
    last = _version(releases[-1])
    return [r for r in releases if _version(r) != last] or list(releases)


def _exact_count(count: int, ranked: int) -> int:
    """Return how many of a table are found exactly, with so many to be ranked."""
    return max(count // DRAFTS_PART, count - ranked)


def _slim(release: Release) -> Release:
    """Return the release without what selection does not need of its images."""
    images = (replace(i, stored_at="", content_hash=None) for i in release.images)
    return replace(release, images=tuple(images))


def _is_pullable(release: Release) -> bool:
    return release.is_pullable


def _version(release: Release) -> str:
    """Return the version without what follows its three numbers."""
    return re.split("[-+]", release.semver, maxsplit=1)[0]
