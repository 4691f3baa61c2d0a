"""What an alias came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self

from mitm.story.quantity import read_size
from mitm.story.saved import Reader, member_of, read_text, read_values
from resolver.release.release import Release
from resolver.release.resolution import Resolution
from resolver.upstream import observer


@dataclass(frozen=True, slots=True)
class KnownRelease:
    """What is shown of a release."""

    version: str
    """Its `raw_version`."""
    revision: str
    commit: str

    @classmethod
    def of(cls, release: Release) -> Self:
        """Return what is shown of the release."""
        revision = "draft" if release.revision is None else str(release.revision)
        return cls(release.raw_version, revision, release.commit)


@dataclass(slots=True)
class AliasRecord:
    """What an alias came to."""

    alias: str
    tag: str | None = None
    release: str | None = None
    revision: str | None = None
    commit: str | None = None
    location: str | None = None
    cache: observer.CacheState | None = None
    reason: str | None = None
    tagged: int | None = None
    code: str | None = None
    message: str | None = None

    @property
    def selector(self) -> str | None:
        """What selected the release: a tag, or the alias itself."""
        return self.tag or selector_of(self.alias)

    @property
    def is_refused(self) -> bool:
        """Whether nothing is pulled by it."""
        return self.code is not None

    def resolve(self, resolution: Resolution) -> None:
        """Take note of the release that the alias stands for."""
        self.use(KnownRelease.of(resolution.release))
        self.location, self.reason = resolution.location, resolution.reason

    def use(self, release: KnownRelease) -> None:
        """Take note of the release."""
        self.release, self.revision = release.version, release.revision
        self.commit = release.commit

    def update(self, later: Self) -> None:
        """Take over what was known later."""
        for name in _READERS:
            if value := getattr(later, name):
                setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values."""
        values = zip(_READERS, _VALUES(self), strict=True)
        state = {name: value for name, value in values if value is not None}
        if self.cache:
            state["cache"] = str(self.cache)
        return state

    @classmethod
    def from_dict(cls, state: object) -> Self | None:
        """Return what a flow says of an alias, if that is a record of one."""
        if not isinstance(state, dict) or not isinstance(state.get("alias"), str):
            return None
        return cls(**read_values(state, _READERS))


def selector_of(alias: str | None) -> str | None:
    """Return the third component of an alias, if it has one."""
    parts = (alias or "").split("/")
    return parts[2] if len(parts) > 2 and parts[0] != "v2" else None  # noqa: PLR2004


_READERS: Mapping[str, Reader] = {
    "alias": read_text,
    "tag": read_text,
    "release": read_text,
    "revision": read_text,
    "commit": read_text,
    "location": read_text,
    "cache": member_of(observer.CacheState),
    "reason": read_text,
    "tagged": read_size,
    "code": read_text,
    "message": read_text,
}
_VALUES = attrgetter(*_READERS)
