"""The candidates of an alias: the releases that it can stand for; a tag picks one.

``<org>/<app>/<selector>`` has one candidate, whatever the tag. ``<org>/<app>`` has
many: the target release, and the greatest final ones, of which the tag selects by the
rules of `resolver.release.selection`, S1 to S10. Its candidates seldom are all of its
releases, so they are order, and none that is greater than the least of them is left
out: what a version or a range finds among them is what the path finds. A release
beyond those, as a pinned one may be, is found by its version or commit and by no range.

Nothing else knows whether tags select.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile

from resolver.errors import AliasInvalid, ReleaseUnknown, TagUnknown
from resolver.grammar.reference import Alias, Location, parse_alias, shorten
from resolver.grammar.selector import (
    KEYWORDS,
    CommitReading,
    PrefixReading,
    RawVersionReading,
    parse_selector,
)
from resolver.release.newest import describe_newest
from resolver.release.release import Release
from resolver.release.selection import (
    greatness,
    is_offered,
    select_image,
    select_release,
)

TARGET_REASON = "the target release of the application"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release that an alias can stand for."""

    location: Location | None
    """Where its image is; None where it has several, which no tag tells apart."""
    release: Release | None = None
    """None where every tag means it."""
    is_target: bool = False


@dataclass(frozen=True, slots=True)
class Pick:
    """What a tag picked, and why."""

    candidate: Candidate
    location: Location
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of one alias, the greatest release first."""

    rows: tuple[Candidate, ...] = ()
    is_whole: bool = True
    """Whether the application has no other final release that can be pulled."""
    _releases: tuple[Release, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the releases apart, as selection takes them."""
        releases = tuple(row.release for row in self.rows if row.release)
        object.__setattr__(self, "_releases", releases)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    @property
    def is_fixed(self) -> bool:
        """Whether every tag means the same release."""
        return any(row.release is None for row in self.rows)

    @property
    def locations(self) -> tuple[Location, ...]:
        """Where the images are, each once, that of the target release first."""
        rows = sorted(self.rows, key=lambda row: not row.is_target)
        return tuple(dict.fromkeys(row.location for row in rows if row.location))

    def release_at(self, location: Location) -> Release | None:
        """Return the greatest release whose image is there."""
        releases = (row.release for row in self.rows if row.location == location)
        return next(releases, None)

    def keep(self, fits: Callable[[Candidate], bool]) -> "Candidates":
        """Return those before the first one that does not fit, and the target."""
        rows = tuple(takewhile(fits, self.rows))
        if len(rows) == len(self.rows):
            return self
        beside = self._beside(rows)
        if all(map(fits, beside)):
            return Candidates(rows + beside, is_whole=False)
        if fits(beside[-1]):
            return self.target_alone()
        return Candidates(rows, is_whole=False)

    def cut(self, count: int) -> "Candidates":
        """Return so many at most, the target release among them if it is here."""
        if len(self.rows) <= count:
            return self
        for length in range(count, -1, -1):
            rows = self.rows[:length]
            beside = self._beside(rows)
            if length + len(beside) <= count:
                return Candidates(rows + beside, is_whole=False)
        return self.target_alone()

    def target_alone(self) -> "Candidates":
        """Return the target release, whatever the tag, where there is room for no more.

        It is then not known which version means it.
        """
        places = (row.location for row in self._targets if row.location)
        return Candidates(tuple(map(Candidate, places)), is_whole=False)

    def _beside(self, rows: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Return the target release, and what its version means, unless in the rows.

        There are greater ones between the rows and these, so no range finds them.
        """
        target = next(self._targets, None)
        if target is None or target.release is None or target in rows:
            return ()
        version = _version(target.release)
        best = next(
            row for row in self.rows if row.release and _version(row.release) == version
        )
        beside = dict.fromkeys((best, target))
        return tuple(hide_from_ranges(row) for row in beside if row not in rows)

    def pick(self, alias: Alias, tag: str) -> Pick | None:
        """Return what the tag picks, or None where it picks nothing.

        Raises:
            TagUnknown: several commits begin so, or the release has several images.

        """
        if self.is_fixed:
            return _pick(self.rows[0])
        if tag.lower() in KEYWORDS:
            target = next(self._targets, None)
            return _pick(target, TARGET_REASON) if target else None
        # As in a path, which is in lower case (S9).
        readings = parse_selector(tag.lower())
        assert readings is not None  # noqa: S101 - no keyword
        name = Alias(alias.slug, tag.lower())
        try:
            selection = select_release(name, readings, self._releases)
            if selection is None:
                return None
            select_image(name, selection.release)
        except ReleaseUnknown as refusal:
            raise TagUnknown(refusal.message) from refusal
        row = next(row for row in self.rows if row.release is selection.release)
        return _pick(row, selection.reason)

    def error_for(self, alias: Alias, tag: str) -> TagUnknown:
        """Return what is said of a tag that picks nothing."""
        text = shorten(tag)[1:-1]
        target = next((row.release for row in self._targets), None)
        newest = describe_newest(self._releases, target)
        if self.is_whole and not _may_be_no_final(tag):
            message = f"{alias.slug} has no release {text} that can be pulled; {newest}"
        else:
            message = (
                f"{alias.slug} has no release {text} among the {len(self)} that tags"
                f" find; {newest}; if there is one, it is pulled as {_path(alias, tag)}"
            )
        return TagUnknown(message)

    def tags(self) -> list[str]:
        """Return the versions that a tag picks, the greatest first.

        Left out is what a range leaves out (S6), except pre-releases and the target
        release: a list is there to choose from.
        """
        names: list[str] = []
        versions: set[str] = set()
        for row in self.rows:
            release = row.release
            if release is None:
                continue
            version = _version(release)
            # The first release of a version is the one that the version means.
            is_best = version not in versions
            versions.add(version)
            if row.location is None or not (is_offered(release) or row.is_target):
                continue
            if is_best:
                names += [version, release.raw_version.replace("+", "_")]
            else:
                names.append(release.exact_selector)
        return list(dict.fromkeys(names))

    @property
    def _targets(self) -> Iterator[Candidate]:
        return (row for row in self.rows if row.is_target)


def order(rows: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return the rows with the greatest release first, and what is no version last."""
    ranked = ((greatness(row.release), row) for row in rows if row.release)
    pairs = sorted(ranked, key=lambda pair: pair[0], reverse=True)
    return tuple(row for _, row in pairs)


def hide_from_ranges(row: Candidate) -> Candidate:
    """Return the row as one that no range finds."""
    assert row.release  # noqa: S101 - only releases are ranged
    return replace(row, release=replace(row.release, is_invalidated=True))


def tag_alias(alias: Alias, tag: str) -> Alias | None:
    """Return the alias that pulls what a tag of `<org>/<app>` means (rule R9).

    None where the path has a selector already, or the tag can stand in no path.
    """
    if alias.selector is not None:
        return None
    try:
        return parse_alias(f"{alias.slug}/{tag.lower()}")
    except AliasInvalid:
        return None


def _pick(row: Candidate, reason: str = "") -> Pick | None:
    return Pick(row, row.location, reason) if row.location else None


def _version(release: Release) -> str:
    """Return what means the greatest release of it; that of a draft, itself."""
    return release.version if release.is_final else release.raw_version


def _may_be_no_final(tag: str) -> bool:
    """Return whether the tag may mean a draft, which only paths find (S4)."""
    return any(
        isinstance(reading, RawVersionReading | CommitReading | PrefixReading)
        for reading in parse_selector(tag.lower()) or ()
    )


def _path(alias: Alias, tag: str) -> str:
    """Return the name that finds what no tag does, with the tag if it can be in one."""
    name = tag_alias(alias, tag)
    is_selector = name is not None and bool(parse_selector(name.selector))
    return str(name) if is_selector else f"{alias.slug}/<version>"
