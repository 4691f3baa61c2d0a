"""Decides which release a tag of `<org>/<app>` means, and which tags there are.

Where tags select (`balena_tags`), a token carries a table of releases beside its
aliases. Rules S1 to S10 hold for a tag as for a selector in the path, and are those of
`resolver.selection`; what differs is that the table seldom has every release.

So that nothing is selected that the path would not select, the final releases in it
are *ranked*: the greatest ones, without a gap. The best of a version or a range among
them is the best that there is. What else is in the table is found *exactly* only, by
whole version or commit: drafts, and a target release that is further down.
The beginning of a commit is told from the others in the table, and from no more.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from resolver.errors import AliasInvalid, ReleaseUnknown, TagUnknown
from resolver.query import NEWEST_COUNT
from resolver.reference import Alias, Location, Slug, parse_alias, parse_tag, shorten
from resolver.release import Release
from resolver.selection import (
    greatness,
    is_offered,
    select_image,
    select_release,
)
from resolver.selector import TargetReading, parse_selector


@dataclass(frozen=True, slots=True)
class TagEntry:
    """A release that a tag can select."""

    release: Release
    location: Location | None
    """Where its image is; None where it has several, which no tag tells apart."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """What a tag selected."""

    tag: str
    release: Release
    location: Location
    reason: str
    """Why it is this release."""


@dataclass(frozen=True, slots=True)
class TagTable:
    """The releases among which the tags of an application select."""

    ranked: tuple[TagEntry, ...] = ()
    """Final releases, the greatest first, without a gap."""
    exact: tuple[TagEntry, ...] = ()
    """Found by whole version or commit."""
    is_whole: bool = True
    """Whether the application has no other release that can be pulled."""

    def __len__(self) -> int:
        """Return the number of releases."""
        return len(self.ranked) + len(self.exact)

    @property
    def entries(self) -> tuple[TagEntry, ...]:
        """All of them."""
        return self.ranked + self.exact

    @property
    def locations(self) -> tuple[Location, ...]:
        """Where their images are, each once."""
        places = (entry.location for entry in self.entries)
        return tuple(dict.fromkeys(place for place in places if place))

    def release_at(self, location: Location) -> Release | None:
        """Return the greatest release whose image is there."""
        found = (e.release for e in self.entries if e.location == location)
        return next(found, None)

    def only(self, fits: Callable[[TagEntry], bool]) -> "TagTable":
        """Return the table of those that fit; the ranked end where one does not."""
        ranked = tuple(takewhile(fits, self.ranked))
        exact = tuple(filter(fits, (*self.ranked[len(ranked) :], *self.exact)))
        is_same = len(ranked) + len(exact) == len(self)
        return TagTable(ranked, exact, self.is_whole and is_same)

    def halved(self) -> "TagTable":
        """Return the table with half as many releases."""
        ranked = self.ranked[: len(self.ranked) // 2]
        return TagTable(ranked, self.exact[: len(self.exact) // 2], is_whole=False)

    def select(self, slug: Slug, tag: str) -> Tagged:
        """Return what the tag selects; a tag may be in upper case (S9).

        Raises:
            TagUnknown: nothing that can be pulled; the message says what can.

        """
        try:
            found = self._find(slug, tag)
        except ReleaseUnknown as refusal:
            raise TagUnknown(refusal.message) from refusal
        if found is None:
            raise self._unknown(slug, tag)
        return found

    def tags(self, slug: Slug) -> Iterator[str]:
        """Yield the versions that can be pulled by tag, the greatest first.

        Left out is what a range leaves out (S6), except pre-releases and drafts: a
        list is there to choose from. Where all releases of a version have a revision
        or build part, the version itself is a tag as well.
        """
        offered = (
            e.release
            for e in self.entries
            if is_offered(e.release) or not e.release.is_final
        )
        names = dict.fromkeys(name for release in offered for name in _tags_of(release))
        return (name for name in names if self._is_pullable(slug, name))

    def _is_pullable(self, slug: Slug, tag: str) -> bool:
        try:
            return parse_tag(tag) is not None and self._find(slug, tag) is not None
        except ReleaseUnknown:
            return False

    def _find(self, slug: Slug, tag: str) -> Tagged | None:
        """Return what the tag selects, as it is written or in lower case.

        Raises:
            ReleaseUnknown: several commits begin so, or there are several images.

        """
        alias = Alias(slug, tag.lower())
        for text in dict.fromkeys((tag, tag.lower())):
            readings = parse_selector(text)
            if isinstance(readings, TargetReading):
                continue
            if selection := select_release(alias, readings, self._candidates()):
                select_image(alias, selection.release)
                number = selection.release.id
                entry = next(e for e in self.entries if e.release.id == number)
                assert entry.location, "select_image let one image pass"  # noqa: S101
                return Tagged(tag, entry.release, entry.location, selection.reason)
        return None

    def _candidates(self) -> list[Release]:
        """Return the releases as selection takes them.

        To be found exactly is what a draft is, whatever the release.
        """
        return [
            *(entry.release for entry in self.ranked),
            *(replace(entry.release, revision=None) for entry in self.exact),
        ]

    def _unknown(self, slug: Slug, tag: str) -> TagUnknown:
        shown = shorten(tag)[1:-1]
        newest = ", ".join(islice(self.tags(slug), NEWEST_COUNT))
        said = f"{slug} has no release {shown} that can be pulled"
        if not self.is_whole:
            said = f"{slug} has no release {shown} among the {len(self)} that tags find"
        said += f"; its newest are {newest}" if newest else "; no tag finds any"
        if not self.is_whole:
            said += f"; one beyond them is pulled as {_named(slug, tag)}"
        return TagUnknown(said)


def rank(entries: Iterable[TagEntry]) -> list[TagEntry]:
    """Return the final releases that can be ranked, the greatest first."""
    return sorted(
        filter(is_rankable, entries),
        key=lambda entry: greatness(entry.release),
        reverse=True,
    )


def is_rankable(entry: TagEntry) -> bool:
    """Return whether the release is final, and its version is one."""
    try:
        greatness(entry.release)
    except ValueError:
        return False
    return entry.release.is_final


def _tags_of(release: Release) -> Iterator[str]:
    """Yield what the release is pulled by, which its revision alone may not be."""
    if release.is_final:
        yield release.semver.partition("+")[0]
    yield release.raw_version.replace("+", "_")


def _named(slug: Slug, tag: str) -> str:
    """Return the name that finds what no tag does, with the version if it is one."""
    selector = tag.lower()
    readings = parse_selector(selector)
    if readings and not isinstance(readings, TargetReading):
        try:
            return str(parse_alias(f"{slug}/{selector}"))
        except AliasInvalid:
            pass  # A tag may end in a hyphen, a name may not.
    return f"{slug}/<version>"
