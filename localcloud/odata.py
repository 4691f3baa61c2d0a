"""The answers to OData queries: rows as JSON values, with their links expanded."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from odata_query import ast

from localcloud.account import Account
from localcloud.catalog import Row
from localcloud.database import Database
from localcloud.query import Order, Query, QueryError, parse_url


@dataclass(frozen=True, slots=True)
class _Link:
    """A link to one row, whose number is in the column, or to many that refer here."""

    target: str
    column: str
    is_to_many: bool = False


# Of the real links those that are followed. None leads to another application's
# rows, so that it is enough to check what the caller may see where a query begins.
_LINKS: Mapping[str, Mapping[str, _Link]] = {
    "application": {
        "should_be_running__release": _Link("release", "should_be_running__release"),
        "owns__release": _Link("release", "belongs_to__application", is_to_many=True),
    },
    "release": {
        "belongs_to__application": _Link("application", "belongs_to__application"),
        "release_image": _Link("release_image", "is_part_of__release", is_to_many=True),
    },
    "release_image": {"image": _Link("image", "image")},
    "image": {"is_a_build_of__service": _Link("service", "is_a_build_of__service")},
}
# An anonymous caller may not follow this one.
_FORBIDDEN = "organization"


def answer_query(database: Database, account: Account, target: str) -> object:
    """Return the JSON value that answers the target for this caller.

    Raises:
        QueryError: there is none.

    """
    resource, query = parse_url(target)
    if resource not in {"application", "release"}:
        # Nobody has a permission for another resource, whether it exists or not.
        raise QueryError(HTTPStatus.UNAUTHORIZED)
    rows = database.visible(resource, account)
    try:
        return {"d": _Reader(database).read(resource, rows, query)}
    except KeyError as error:
        # There is no field of that name.
        raise QueryError(HTTPStatus.INTERNAL_SERVER_ERROR) from error


@dataclass(frozen=True, slots=True)
class _Reader:
    database: Database

    def read(self, resource: str, rows: list[Row], query: Query) -> list[Row]:
        """Return what the query shows of these rows."""
        condition = query.filter
        if condition is not None:
            rows = [row for row in rows if self._value(condition, resource, row, {})]
        for order in reversed(query.orderby):
            rows = _sort(rows, order)
        return [self._shown(resource, row, query) for row in rows[: query.top]]

    def _shown(self, resource: str, row: Row, query: Query) -> Row:
        # Expanded links come first, as the API has them.
        links = {
            name: self.read(*self._linked(resource, row, name), inner)
            for name, inner in query.expand
        }
        return links | {name: row[name] for name in query.select}

    def _linked(self, resource: str, row: Row, name: str) -> tuple[str, list[Row]]:
        """Return the resource that a link leads to, and the rows there."""
        if name == _FORBIDDEN:
            raise QueryError(HTTPStatus.UNAUTHORIZED)
        link = _LINKS[resource][name]
        rows = (
            self.database.find(link.target, **{link.column: row["id"]})
            if link.is_to_many
            else self.database.linked(link.target, row[link.column])
        )
        return link.target, rows

    def _value(  # noqa: C901, PLR0911 - one case for each kind of node
        self, node: ast._Node, resource: str, row: Row, variables: Mapping[str, Row]
    ) -> Any:
        """Return the value of an expression about a row."""

        def value(child: ast._Node) -> Any:
            return self._value(child, resource, row, variables)

        match node:
            case ast.Identifier(name=name):
                return row[name]
            case ast.Attribute(owner=ast.Identifier(name=variable), attr=name):
                return variables[variable][name]
            case ast.Integer() | ast.String() | ast.Boolean():
                return node.py_val
            case ast.BoolOp(op=ast.And()):
                return value(node.left) and value(node.right)
            case ast.BoolOp(op=ast.Or()):
                return value(node.left) or value(node.right)
            case ast.Compare(comparator=ast.Eq()):
                return value(node.left) == value(node.right)
            case ast.Call(func=ast.Identifier(name="startswith"), args=[text, begin]):
                return value(text).startswith(value(begin))
            case ast.Call(func=ast.Identifier(name="tolower"), args=[text]):
                return value(text).lower()
            case ast.CollectionLambda(
                owner=ast.Identifier(name=name),
                operator=ast.Any(),
                lambda_=ast.Lambda(identifier=variable, expression=condition),
            ):
                target, rows = self._linked(resource, row, name)
                return any(
                    self._value(condition, target, each, {variable.name: each})
                    for each in rows
                )
            case _:
                raise QueryError(HTTPStatus.BAD_REQUEST)


def _sort(rows: list[Row], order: Order) -> list[Row]:
    def key(row: Row) -> tuple[bool, object]:
        # Null is the greatest value.
        return row[order.field] is None, row[order.field]

    return sorted(rows, key=key, reverse=order.is_descending)
