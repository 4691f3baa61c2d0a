"""The rows of the cloud, by resource."""

import threading

from localcloud.account import Account
from localcloud.catalog import Catalog, Row


class Database:
    """Tables in memory; safe to use from several threads, as rows are replaced."""

    def __init__(self, catalog: Catalog) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, dict[int, Row]] = {
            resource: {row["id"]: row for row in rows}
            for resource, rows in catalog.items()
        }

    def insert(self, resource: str, row: Row) -> int:
        """Add a row and return the number that it gets."""
        table = self._tables[resource]
        with self._lock:
            number = max(table) + 1
            table[number] = row | {"id": number}
        return number

    def change(self, resource: str, number: int, fields: Row) -> None:
        """Overwrite fields of one row."""
        with self._lock:
            table = self._tables[resource]
            table[number] = table[number] | fields

    def set_content_hash(self, location: str, digest: str) -> None:
        """Record the digest of the image that is stored at a location."""
        for image in self.find("image", is_stored_at__image_location=location):
            self.change("image", image["id"], {"content_hash": digest})

    def rows(self, resource: str) -> list[Row]:
        """Return all rows of a resource, whoever may see them, oldest first."""
        with self._lock:
            return list(self._tables[resource].values())

    def linked(self, resource: str, number: int | None) -> list[Row]:
        """Return the row that a link to one leads to, if it leads anywhere."""
        row = None if number is None else self._tables[resource].get(number)
        return [] if row is None else [row]

    def find(self, resource: str, **fields: object) -> list[Row]:
        """Return the rows that have these values."""
        return [
            row
            for row in self.rows(resource)
            if all(row[name] == value for name, value in fields.items())
        ]

    def visible(self, resource: str, account: Account) -> list[Row]:
        """Return the applications, or the releases, that the account may see."""
        column = "id" if resource == "application" else "belongs_to__application"
        numbers = {
            row["id"] for row in self.rows("application") if account.may_read(row)
        }
        return [row for row in self.rows(resource) if row[column] in numbers]

    def images(self, release: Row) -> list[Row]:
        """Return the images of a release."""
        links = self.find("release_image", is_part_of__release=release["id"])
        return [
            image for link in links for image in self.linked("image", link["image"])
        ]
