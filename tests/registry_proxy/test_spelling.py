"""Variables that nobody reads are refused or warned of."""

import re

import pytest

from mitm.option import VARIABLES, ValueRefused
from registry_proxy import ROOT
from registry_proxy.spelling import OF_TARGETS, check_spelling


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (" -- PORT=9000", "PORT: there is no such variable; write PROXY_PORT=9000"),
        ("s -- REGISTRY=http://a", "write REGISTRY_URL=http://a"),
        ("k -- ONCE=1 PROXY_PROT=1", "PROXY_PROT: there is no such variable; write"),
        (" -- API_URI=http://a\\ b", "write API_URL=http://a b"),
        (" -- PROXY=http://u:secret@p:1", "write PROXY_PORT=…"),
        (' -- FLAVOUR="a', "FLAVOUR: there is no such variable; there are ALL, "),
    ],
)
def test_unknown_variable_of_make_is_refused(flags: str, said: str) -> None:
    """The message names it, and a variable with the value that works."""
    with pytest.raises(ValueRefused) as refused:
        check_spelling({"MAKEFLAGS": flags}, is_of_make=True)
    assert said in str(refused.value)
    # Another project's make has variables of its own.
    check_spelling({"MAKEFLAGS": flags}, is_of_make=False)


@pytest.mark.parametrize(
    "flags",
    [
        *("", "w", "kj4", " -- ONCE=1", " -- HTTPS_PROXY=http://proxy.test:3128"),
        "s -- PROXY_PORT=9000 ARGS=-q\\ -w\\ a",
    ],
)
def test_known_variables_pass(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags of make are none, and nothing is said."""
    environment = dict.fromkeys(VARIABLES, "x") | {"MAKEFLAGS": flags}
    check_spelling(environment, is_of_make=True)
    assert capsys.readouterr().err == ""


def test_near_miss_in_the_environment_is_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A name of others is left alone, as Kubernetes has them for each service."""
    near = {"PROXY_PROT": "PROXY_PORT", "REGISTRY_URI": "REGISTRY_URL"}
    others = ("PATH", "API_KEY", "REGISTRY_PROXY_PORT", "REGISTRY_PROXY_SERVICE_HOST")
    check_spelling(dict.fromkeys((*others, *near), "x"), is_of_make=True)
    assert capsys.readouterr().err.splitlines() == [
        f"registry proxy: {name} is set, and has no effect: {meant} may be meant"
        for name, meant in near.items()
    ]


def test_every_variable_of_a_target_is_known() -> None:
    """What the Makefile and the tools read may be given to make."""
    pattern = re.compile(r"\$\((?:or \$\()?([A-Z_]+)\)|\$\$([A-Z_]+)|\$\{([A-Z_]+)[:}]")
    read = {
        name
        for path in (ROOT / "Makefile", *(ROOT / "tools").iterdir())
        for names in pattern.findall(path.read_text())
        for name in names
        if name
    }
    of_make = {"BIN", "COMMAND", "SOURCES", "MAKEFILE_LIST", "HOME", "STATE"}
    of_others = {"XDG_CACHE_HOME", "PYENV_ROOT", "PIP_CERT", "SSL_CERT_FILE"} | {
        *("UV_FIND_LINKS", "UV_INDEX_STRATEGY")
    }
    of_apt = {"ORIGIN", "RELEASE", "REPO_URI"}
    assert read - of_make - of_others - of_apt <= OF_TARGETS.union(VARIABLES)
