"""Variables that nobody reads, because they are misspelt.

What is given to `make` by name is meant for this project, so a name that means nothing
is refused. The environment has much that is others'; there a name that is close to one
of ours is worth a warning.
"""

import shlex
import sys
from collections.abc import Mapping
from difflib import get_close_matches

from mitm.option import VARIABLES, ValueRefused

OF_TARGETS = (
    *("ALL", "ARGS", "CLIENTS", "CONTAINER", "FLOWS", "HOST", "IMAGE", "MINUTES"),
    *("ONCE", "OUT", "OUTPUT", "PEER", "PIP_INDEX_URL", "PYTHON", "PYTHON_IMAGE"),
    *("REF", "SECONDS", "VENV", "WORKERS", "BALENA_API_KEY"),
)
"""What targets of the Makefile take beside the variables of the table."""
_LIKENESS = 0.85


def check_spelling(environment: Mapping[str, str]) -> None:
    """Look for names that are likely to be one of ours.

    Raises:
        ValueRefused: a variable of make's command line is none that there is.

    """
    for name, text in _of_make(environment.get("MAKEFLAGS", "")).items():
        if name not in VARIABLES and name not in OF_TARGETS:
            meant = _meant(name)
            advice = (
                f"write {meant}={text}"
                if meant
                else f"there are {', '.join(VARIABLES)}"
            )
            raise ValueRefused(f"{name}: there is no such variable; {advice}")
    for name in environment.keys() - {*VARIABLES, *OF_TARGETS}:
        if close := get_close_matches(name, VARIABLES, n=1, cutoff=_LIKENESS):
            sys.stderr.write(
                f"registry proxy: {name} is set, and nobody reads it: {close[0]} may"
                " be meant\n"
            )


def _of_make(flags: str) -> dict[str, str]:
    """Return the variables of make's command line, as make hands them on."""
    _, separator, rest = f" {flags}".partition(" -- ")
    try:
        words = shlex.split(rest) if separator else []
    except ValueError:  # A quote in a value, which make writes as it is.
        words = rest.split()
    return {
        name: text for name, equals, text in (w.partition("=") for w in words) if equals
    }


def _meant(name: str) -> str:
    """Return the variable that was most likely meant, or nothing."""
    having = [variable for variable in VARIABLES if name.upper() in variable.split("_")]
    close = get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.5)
    return "PROXY_PORT" if name.upper() == "PORT" else next(iter([*close, *having]), "")
