"""How an expression becomes SQL: every literal is a bound parameter.

Names reach the SQL text only after they were found in the model.
Comparing values of unlike types is false here; PostgreSQL refuses some of them,
and the API then answers 500.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from odata_query import ast

from localcloud.model import RESOURCES, Link, Resource
from localcloud.odata.error import (
    ForbiddenError,
    MalformedUrlError,
    UnknownFieldError,
)

# The API compares null like a value: `revision ne 0` finds drafts as well.
_COMPARATORS: Mapping[type[ast._Node], str] = {
    ast.Eq: "IS",
    ast.NotEq: "IS NOT",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "IN",
}
_ARITHMETIC: Mapping[type[ast._Node], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
}
_FUNCTIONS: Mapping[str, Callable[..., str]] = {
    "startswith": lambda a, b: f"(substr({a}, 1, length({b})) = {b})",
    "endswith": lambda a, b: f"({b} = '' OR substr({a}, -length({b})) = {b})",
    "contains": lambda a, b: f"(instr({a}, {b}) > 0)",
    "indexof": lambda a, b: f"(instr({a}, {b}) - 1)",
    "concat": lambda a, b: f"({a} || {b})",
    "substring": lambda a, *b: (
        f"substr({a}, {' + 1, '.join(b)})" if len(b) > 1 else f"substr({a}, {b[0]} + 1)"
    ),
    "length": lambda a: f"length({a})",
    "tolower": lambda a: f"lower({a})",
    "toupper": lambda a: f"upper({a})",
    "trim": lambda a: f"trim({a})",
    "round": lambda a: f"round({a})",
    "floor": lambda a: f"floor({a})",
    "ceiling": lambda a: f"ceil({a})",
    "year": lambda a: f"CAST(strftime('%Y', {a}) AS INTEGER)",
    "month": lambda a: f"CAST(strftime('%m', {a}) AS INTEGER)",
    "day": lambda a: f"CAST(strftime('%d', {a}) AS INTEGER)",
    "hour": lambda a: f"CAST(strftime('%H', {a}) AS INTEGER)",
    "minute": lambda a: f"CAST(strftime('%M', {a}) AS INTEGER)",
    "second": lambda a: f"CAST(strftime('%S', {a}) AS INTEGER)",
    "now": lambda: "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
}


@dataclass(frozen=True, slots=True)
class Entity:
    """A row that an expression is about, by its resource and the SQL of its id."""

    resource: Resource
    id: str
    alias: str = ""

    def field(self, name: str) -> str:
        """Return the SQL of a field's value."""
        if name not in self.resource.fields:
            raise UnknownFieldError(name)
        if self.alias:
            return f'{self.alias}."{name}"'
        table = self.resource.name
        return f'(SELECT t."{name}" FROM "{table}" t WHERE t.id = {self.id})'  # noqa: S608

    def link(self, name: str) -> Link:
        """Return the link of that name."""
        if name in self.resource.forbidden:
            raise ForbiddenError(name)
        if name not in self.resource.links:
            raise UnknownFieldError(name)
        return self.resource.links[name]

    def follow(self, name: str) -> "Entity":
        """Return the row that a link to one leads to."""
        link = self.link(name)
        if link.is_to_many:
            # The API joins here, and repeats rows; nobody should rely on it.
            raise MalformedUrlError(f"{name} leads to many")
        return Entity(RESOURCES[link.target], self.field(link.column))

    def joined(self, link: Link, alias: str) -> str:
        """Return the condition under which ``alias`` is a row linked to this one."""
        if link.is_to_many:
            return f'{alias}."{link.column}" = {self.id}'
        return f"{alias}.id = {self.field(link.column)}"


@dataclass(slots=True)
class Parameters:
    """The values of a statement, by the name of their placeholder."""

    values: dict[str, object] = field(default_factory=dict)

    def bind(self, value: object) -> str:
        """Take in a value and return its placeholder."""
        # SQLite's integers end at 64 bits.
        if isinstance(value, int) and abs(value) >= 1 << 63:
            value = float(value)
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"


@dataclass(frozen=True, slots=True)
class Expression:
    """Translates expressions about one row, given the variables around it."""

    entity: Entity
    parameters: Parameters
    variables: Mapping[str, Entity] = field(default_factory=dict)
    depth: int = 0

    def sql(self, node: ast._Node) -> str:  # noqa: C901, PLR0911, PLR0912
        """Return the SQL of a node and all below it, by one case for each kind."""
        match node:
            case ast.Identifier():
                return self._value(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Null():
                return "NULL"
            case ast.Integer() | ast.Float() | ast.String():
                return self.parameters.bind(node.py_val)
            case ast.Boolean():
                return self.parameters.bind(int(node.py_val))
            case ast.DateTime():
                return self.parameters.bind(_timestamp(node.val))
            case ast.List():
                return f"({', '.join(map(self.sql, node.val))})"
            case ast.BoolOp():
                joint = "AND" if isinstance(node.op, ast.And) else "OR"
                return f"({self.sql(node.left)} {joint} {self.sql(node.right)})"
            case ast.UnaryOp():
                sign = "NOT" if isinstance(node.op, ast.Not) else "-"
                return f"({sign} {self.sql(node.operand)})"
            case ast.Compare():
                operator = _COMPARATORS[type(node.comparator)]
                return f"({self.sql(node.left)} {operator} {self.sql(node.right)})"
            case ast.BinOp():
                operator = _ARITHMETIC[type(node.op)]
                return f"({self.sql(node.left)} {operator} {self.sql(node.right)})"
            case ast.Call():
                return self._call(node)
            case ast.CollectionLambda():
                return self._lambda(node)
            case _:
                raise MalformedUrlError(type(node).__name__)

    def _value(self, node: ast.Identifier) -> str:
        if node.name in self.variables:
            return self.variables[node.name].id
        if node.name in self.entity.resource.forbidden:
            raise ForbiddenError(node.name)
        return self.entity.field(node.name)

    def _attribute(self, node: ast.Attribute) -> str:
        return self._entity(node.owner).field(node.attr)

    def _entity(self, node: ast._Node) -> Entity:
        match node:
            case ast.Identifier() if node.name in self.variables:
                return self.variables[node.name]
            case ast.Identifier():
                return self.entity.follow(node.name)
            case ast.Attribute():
                return self._entity(node.owner).follow(node.attr)
            case _:
                raise MalformedUrlError(type(node).__name__)

    def _call(self, node: ast.Call) -> str:
        function = None if node.func.namespace else _FUNCTIONS.get(node.func.name)
        if function is None:
            raise MalformedUrlError(node.func.name)
        return function(*map(self.sql, node.args))

    def _lambda(self, node: ast.CollectionLambda) -> str:
        match node.owner:
            case ast.Identifier(name=name):
                owner = self.entity
            case ast.Attribute(owner=before, attr=name):
                owner = self._entity(before)
            case _:
                raise MalformedUrlError(type(node.owner).__name__)
        if node.lambda_ is None:
            raise MalformedUrlError(name)
        link = owner.link(name)
        alias = f"l{self.depth}"
        row = Entity(RESOURCES[link.target], f"{alias}.id", alias)
        inner = replace(
            self,
            variables={**self.variables, node.lambda_.identifier.name: row},
            depth=self.depth + 1,
        )
        condition = inner.sql(node.lambda_.expression)
        is_all = isinstance(node.operator, ast.All)
        return (
            f"({'NOT ' * is_all}EXISTS (SELECT 1 FROM "  # noqa: S608
            f'"{link.target}" {alias} WHERE {owner.joined(link, alias)} '
            f"AND {'NOT ' * is_all}coalesce({condition}, 0)))"
        )


def _timestamp(text: str) -> str:
    """Return a date as the database's text, so that comparing texts orders it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedUrlError(text) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
