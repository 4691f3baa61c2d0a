"""How a query can fail.

ODataError (never raised itself)
├── MalformedUrlError   400, a JSON string that repeats the URL
├── ForbiddenError      401, empty
└── UnknownFieldError   500, empty; also what the database cannot run
"""


class ODataError(Exception):
    """A query that gets no data."""

    status = 500


class MalformedUrlError(ODataError, ValueError):
    """The URL does not follow the grammar."""

    status = 400


class ForbiddenError(ODataError):
    """The caller may not read a resource that the query names."""

    status = 401


class UnknownFieldError(ODataError, ValueError):
    """The query names a field or link that there is not."""

    status = 500
