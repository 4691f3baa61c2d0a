"""Where the cloud's data is kept: one SQLite database in memory.

A caller's query runs over views that leave out every row of an application that
the caller may not see, so that no filter, link or expand can reach one.
"""

import json
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from localcloud.account import Account
from localcloud.catalog import Catalog, Row
from localcloud.model import RESOURCES, Kind

_COLUMN_TYPES = {
    Kind.INTEGER: "INTEGER",
    Kind.TEXT: "TEXT",
    Kind.BOOLEAN: "INTEGER",
    Kind.JSON: "TEXT",
    Kind.LINK: "INTEGER",
}

# The names are those of the tables, which the views hide from the query.
_VISIBLE = """WITH
application AS (SELECT * FROM main.application WHERE id IN ({ids})),
release AS (SELECT * FROM main.release
  WHERE belongs_to__application IN ({ids})),
release_image AS (SELECT * FROM main.release_image
  WHERE is_part_of__release IN (SELECT id FROM release)),
image AS (SELECT * FROM main.image
  WHERE id IN (SELECT image FROM release_image)),
service AS (SELECT * FROM main.service WHERE application IN ({ids}))
"""

# The API's own reading of `org/app[/version]`, for releases of one image.
_ALIAS = """SELECT image.is_stored_at__image_location
FROM image
JOIN release_image ON release_image.image = image.id
JOIN release ON release.id = release_image.is_part_of__release
JOIN application ON application.id = release.belongs_to__application
WHERE application.slug = :slug
AND release.status = 'success' AND image.status = 'success'
AND (SELECT count(*) FROM release_image AS counted
  WHERE counted.is_part_of__release = release.id) = 1
AND CASE WHEN :version IS NULL
  THEN application.should_be_running__release = release.id
  ELSE release.commit_ = :version
    OR (release.semver = :version AND release.is_final)
    OR (release.raw_version = :version AND NOT release.is_final)
  END
ORDER BY release.revision DESC NULLS FIRST, image.id LIMIT 1
""".replace("commit_", '"commit"')

_OWNERS = """SELECT DISTINCT application.slug, application.is_public
FROM image
JOIN release_image ON release_image.image = image.id
JOIN release ON release.id = release_image.is_part_of__release
JOIN application ON application.id = release.belongs_to__application
WHERE substr(image.is_stored_at__image_location, -length(:name)) = :name
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """An application that a release's image belongs to."""

    slug: str
    is_public: bool


class Database:
    """The rows of all resources; safe to use from several threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        for resource in RESOURCES.values():
            columns = ", ".join(
                f'"{name}" {_COLUMN_TYPES[kind]}'
                + (" PRIMARY KEY" if name == "id" else "")
                for name, kind in resource.fields.items()
            )
            self._run(f'CREATE TABLE "{resource.name}" ({columns})', {})
            for row in catalog[resource.name]:
                self.insert(resource.name, row)

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._connection.close()

    def insert(self, resource: str, row: Row) -> int:
        """Add a row, numbering it unless it has an ``id``; return the number."""
        known = RESOURCES[resource].fields
        columns = ", ".join(f'"{name}"' for name in known)
        values = ", ".join(f":{name}" for name in known)
        with self._lock:
            if "id" not in row:
                found = self._run(f'SELECT max(id) + 1 FROM "{resource}"', {})  # noqa: S608
                row = {**row, "id": found[0][0] or 1}
            self._run(
                f'INSERT INTO "{resource}" ({columns}) VALUES ({values})',  # noqa: S608
                {name: _stored(row.get(name)) for name in known},
            )
        return int(str(row["id"]))

    def change(self, resource: str, number: int, values: Mapping[str, object]) -> None:
        """Overwrite fields of one row."""
        unknown = values.keys() - RESOURCES[resource].fields.keys()
        if unknown:
            raise ValueError(f"{resource} has no {', '.join(sorted(unknown))}")
        assignments = ", ".join(f'"{name}" = :{name}' for name in values)
        self._run(
            f'UPDATE "{resource}" SET {assignments} WHERE id = :_id',  # noqa: S608
            {"_id": number, **{k: _stored(v) for k, v in values.items()}},
        )

    def set_content_hash(self, location: str, digest: str) -> None:
        """Record what the image stored at a location turned out to be."""
        self._run(
            "UPDATE image SET content_hash = :digest"
            " WHERE is_stored_at__image_location = :location",
            {"digest": digest, "location": location},
        )

    def rows(self, resource: str) -> list[Row]:
        """Return all rows of a resource, whoever may see them."""
        found = self._run(f'SELECT * FROM "{resource}" ORDER BY id', {})  # noqa: S608
        return [dict(row) for row in found]

    def visible(
        self, account: Account, sql: str, parameters: Mapping[str, object]
    ) -> list[sqlite3.Row]:
        """Run a query in which only what the account may see exists."""
        with self._lock:
            found = self._run("SELECT id, slug, is_public FROM application", {})
            ids = ",".join(
                str(row["id"])
                for row in found
                if account.may_read(row["slug"], is_public=bool(row["is_public"]))
            )
            return self._run(_VISIBLE.format(ids=ids) + sql, parameters)

    def location_of(self, account: Account, slug: str, version: str | None) -> str:
        """Return where the image of a release is stored, or nothing.

        Without a version it is the target release's. The real API caches the
        answer, also the empty one, for five minutes; this does not.
        """
        found = self.visible(account, _ALIAS, {"slug": slug, "version": version})
        return str(found[0][0]) if found else ""

    def owners_of(self, name: str) -> list[Owner]:
        """Return the applications with a release of the image stored as ``name``."""
        found = self._run(_OWNERS, {"name": name})
        return [Owner(row["slug"], bool(row["is_public"])) for row in found]

    def _run(self, sql: str, parameters: Mapping[str, object]) -> list[sqlite3.Row]:
        with self._lock, closing(self._connection.execute(sql, parameters)) as cursor:
            return cursor.fetchall()


def _stored(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
