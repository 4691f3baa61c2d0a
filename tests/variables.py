"""Which environment variables are read, going by the code that reads them."""

import re

import serve

_SOURCES = ("serve.py", "variable.py")


def read_variables() -> set[str]:
    """Return the names of all variables."""
    code = "".join((serve.ROOT / name).read_text() for name in _SOURCES)
    return set(re.findall(r'"([A-Z][A-Z0-9_]+)"', code)) - set(serve.UNBUFFERED)
