"""Variables that nobody reads, because they are misspelt.

What is given to this project's make by name is meant for it, so a name that means
nothing is refused. The environment has much that is others'; there a name that is close
to one of ours is worth a warning.
"""

import re
import shlex
import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from mitm.option import OPTIONS, VARIABLES, ValueRefused

OF_TARGETS = frozenset(
    {
        *("ALL", "ARGS", "BUILD_ARGS", "CLIENTS", "CONTAINER", "DO", "FLOWS", "FROM"),
        *("HOST", "IMAGE", "LOG", "MINUTES", "ONCE", "OUT", "OUTPUT", "PAGE", "PEER"),
        *("PIP_CERT", "PIP_INDEX_URL", "PLATFORMS", "PYTHON", "PYTHON_IMAGE", "REF"),
        *("SECONDS", "VENV", "WORKERS"),
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        *("all_proxy", "https_proxy", "http_proxy", "no_proxy"),
        *("BALENA_API_KEY", "DOCKER_CONFIG", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
    }
)
"""What is taken beside the variables of the table: by targets of the Makefile, or as
every program takes it (see `resolver.upstream.outgoing`)."""
_BY_OPTION = {
    row.name.removeprefix("balena_").upper(): row.variable
    for row in OPTIONS
    if row.variable
}
"""The variables, by what their options are called."""
_OF_OTHERS = frozenset({"NAME"})
"""What is set on many machines, as by WSL, and means nothing of ours."""
_SHOWN = re.compile(r"[\w.:/ -]{1,60}")
"""A value that is said again: no login is in a URL of these characters."""
_LIKELY = 0.5
_NEARLY = 0.85
"""How alike two names are, from 0 to 1."""


def check_spelling(environment: Mapping[str, str], *, is_of_make: bool) -> None:
    """Look for names that are likely to be one of ours; warn of those.

    Raises:
        ValueRefused: make's command line sets a variable that does not exist.

    """
    known = OF_TARGETS.union(VARIABLES)
    given = _given_to_make(environment.get("MAKEFLAGS", "")) if is_of_make else {}
    for name, text in given.items():
        if name not in known:
            meant = _meant(name)
            value = text if _SHOWN.fullmatch(text) else "…"
            there_are = f"there are {_listed(known)}"
            advice = f"write {meant}={value}" if meant else there_are
            raise ValueRefused(f"{name}: there is no such variable; {advice}")
    for name in sorted(environment.keys() - known - _OF_OTHERS):
        if near := get_close_matches(name, VARIABLES, n=1, cutoff=_NEARLY):
            sys.stderr.write(
                f"registry proxy: {name} is set, and has no effect: {near[0]} may be"
                " meant\n"
            )


def option_of(variable: str) -> str:
    """Return the variable as an option of the command line."""
    return f"--{variable.lower().replace('_', '-')}"


def explain_word(word: str, variables: Collection[str]) -> str:
    """Return what to write in the place of a word that the command line cannot have."""
    name, equals, _ = word.partition("=")
    if name in variables:
        return f"{name}{equals}…: write {option_of(name)} and the value"
    meant = _meant(name.lstrip("-").replace("-", "_"))
    if word.startswith("-") and meant in variables:
        return f"{name}: there is no such option; {option_of(meant)} may be meant"
    return f"{name}: nobody reads this; what is for mitmproxy stands after --"


def _given_to_make(flags: str) -> dict[str, str]:
    """Return the variables of make's command line, as it hands them on."""
    _, _, rest = f" {flags}".partition(" -- ")
    try:
        words = shlex.split(rest)
    except ValueError:  # A quote within a value, which make leaves as it is.
        words = rest.split()
    pairs = (word.partition("=") for word in words)
    return {name: text for name, equals, text in pairs if equals}


def _meant(name: str) -> str:
    """Return the variable that was most likely meant, or nothing."""
    word = name.upper()
    if word in _BY_OPTION:
        return _BY_OPTION[word]
    # PORT is PROXY_PORT, and not METRICS_PORT: the table begins with the usual ones.
    whole = [each for each in VARIABLES if word in each.split("_")]
    return next(iter(whole or get_close_matches(word, VARIABLES, 1, _LIKELY)), "")


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
