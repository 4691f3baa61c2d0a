"""Serve the registry under the names that people use.

An explicit URL beats a host name, a host name beats DNS_TLD. What follows `--` goes to
mitmproxy, as what stands in ARGS does.
"""

import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from mitm import program
from mitm.option import DEFAULTS, OPTIONS, Names, ValueRefused, parse_variables
from registry_proxy import IS_CHECKOUT, ROOT
from registry_proxy.port import LOOPBACK, check_place, free_port, is_free

if sys.platform != "win32":
    import resource

CONF = ROOT / "mitm.conf"
WEB_COLUMNS = ("status", "comment", "time")
OPEN_FILES = 16384
"""As many as one process of mitmproxy can make use of, and more."""
_VARIABLE_OF = {row.name: row.variable for row in OPTIONS} | {
    "confdir": "CONFDIR",
    "balena_metrics_listen": "METRICS_PORT",
    "balena_pulls_listen": "PULLS_PORT",
}
"""The variable behind each option."""
PROGRAMS = {"run": "mitmdump", "web": "mitmweb", "console": "mitmproxy"}
"""The program of mitmproxy's behind each command."""
_LISTEN_FLAGS = frozenset({"--listen-host", "--listen-port", "-p"})


def mitmdump_arguments(environment: Mapping[str, str]) -> list[str]:
    """Return what mitmdump is to be called with.

    Raises:
        ValueRefused: a variable has a value that cannot work; the message names it.

    """
    chosen = parse_variables(environment)
    values = DEFAULTS | chosen
    listen, port = values["LISTEN_HOST"], values["PROXY_PORT"]
    is_named = "REGISTRY_URL" in chosen or "REGISTRY2_HOST" in chosen
    if values["balena_names"] is Names.REGISTRY and not is_named:
        raise ValueRefused(
            "NAMES: registry says how names are read, and not which registry is meant;"
            " set REGISTRY_URL=https://registry.example.com as well"
        )
    host = chosen.get("REGISTRY2_HOST") or f"registry2.{values['DNS_TLD']}"
    registry = chosen.get("REGISTRY_URL") or f"https://{host}"
    settings = {"confdir": str(confdir(environment))}
    if api := _api(chosen):
        settings["balena_api_url"] = api
    if metrics := _place(chosen, "METRICS", 9090, port, listen):
        settings["balena_metrics_listen"] = metrics
    if pulls := _place(chosen, "PULLS", 8085, port, LOOPBACK):
        settings["balena_pulls_listen"] = pulls
    if "balena_pulls_token" in chosen and "PULLS_PORT" not in chosen:
        raise ValueRefused(
            "PULLS_TOKEN: has no effect without PULLS_PORT; set PULLS_PORT=8085 as well"
        )
    for option in OPTIONS:
        if option.name in chosen:
            text = environment[option.variable]
            settings[option.name] = _format(chosen[option.name], text)
    return [
        *("-s", str(ROOT / "addon.py")),
        *("--mode", f"reverse:{registry}@{listen}:{port}"),
        *_set(*(f"{name}={value}" for name, value in settings.items())),
        *_extra(environment, settings),
    ]


def mitmweb_arguments(environment: Mapping[str, str]) -> list[str]:
    """Return what mitmweb is to be called with beside what mitmdump is.

    Raises:
        ValueRefused: as `mitmdump_arguments`.

    """
    chosen = parse_variables(environment)
    values = DEFAULTS | chosen
    port, proxy_port = values["WEB_PORT"], values["PROXY_PORT"]
    if "WEB_PORT" not in chosen:
        # mitmweb cannot be told to take any free one.
        port = port if port != proxy_port and is_free(LOOPBACK, port) else free_port()
    elif port == proxy_port:
        raise ValueRefused(
            f"WEB_PORT: {port} is the port of the proxy itself; choose another, as"
            f" WEB_PORT={DEFAULTS['WEB_PORT'] + 1}"
        )
    return _set(
        f"web_port={port}",
        *(f"web_columns={name}" for name in WEB_COLUMNS),
        # Without effect where the mode has an address, but the page shows them.
        f"listen_host={values['LISTEN_HOST']}",
        f"listen_port={proxy_port}",
    )


def arguments_of(name: str, environment: Mapping[str, str]) -> list[str]:
    """Return what the program is to be called with.

    Raises:
        ValueRefused: as `mitmdump_arguments`.

    """
    web = mitmweb_arguments(environment) if name == "mitmweb" else []
    # The user's own arguments come last, and so they count.
    return [*web, *mitmdump_arguments(environment)]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the one that stands for two variables."""
    parser.add_argument(
        "--registry",
        metavar="URL",
        help="serve any registry as it is: NAMES=registry and REGISTRY_URL=URL",
    )


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Become the program, until it ends.

    Raises:
        ValueRefused: as `mitmdump_arguments`, or nothing can be written to CONFDIR.

    """
    words = (environment.get("ARGS", ""), shlex.join(options.arguments))
    variables = {**environment, "ARGS": " ".join(filter(None, words))}
    if options.registry:
        variables |= {"NAMES": "registry", "REGISTRY_URL": options.registry}
    name = PROGRAMS[options.command]
    if name == "mitmproxy" and not sys.stdout.isatty():
        raise ValueRefused("console needs a terminal; run and web need none")
    arguments = arguments_of(name, variables)
    check_places(variables)
    link_options(confdir(variables))
    raise_open_files()
    program.run(name, arguments)
    return 0


def check_places(environment: Mapping[str, str]) -> None:
    """See whether everything can listen where it is told to.

    Raises:
        ValueRefused: it cannot.

    """
    chosen = parse_variables(environment)
    values = DEFAULTS | chosen
    listen = values["LISTEN_HOST"]
    check_place(listen, values["PROXY_PORT"], "LISTEN_HOST", "PROXY_PORT")
    for name, usual in (("METRICS", listen), ("PULLS", LOOPBACK)):
        if port := values[f"{name}_PORT"]:
            host = values[f"{name}_HOST"] or usual
            check_place(host, port, f"{name}_HOST", f"{name}_PORT")
    if port := chosen.get("WEB_PORT"):
        check_place(LOOPBACK, port, "WEB_PORT", "WEB_PORT")


def confdir(environment: Mapping[str, str]) -> Path:
    """Return the folder of mitmproxy's authority, and of the link to its options."""
    text = environment.get("CONFDIR", "")
    return Path(text).expanduser().resolve() if text else _usual_confdir(environment)


def link_options(folder: Path) -> None:
    """Link `mitm.conf` to where mitmproxy reads its options.

    Raises:
        ValueRefused: nothing can be written there.

    """
    link = folder / "config.yaml"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if link.exists() and not link.is_symlink():
            raise ValueRefused(
                f"CONFDIR: {link} is a file of your own, and would be replaced; name"
                " another folder, or move its options into mitm.conf"
            )
        if not link.is_symlink() or link.readlink() != CONF:
            link.unlink(missing_ok=True)
            link.symlink_to(CONF)
    except OSError as error:
        raise ValueRefused(
            f"CONFDIR: {folder}: {error.strerror}; name a folder that this user may"
            " write to, it keeps the authority that clients trust"
        ) from error


def raise_open_files() -> None:
    """Raise this process's limit of open files, as far as it may be raised.

    Every client takes two, with a cache four, and the usual limit of 1024 is one for
    programs of old.
    """
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _api(chosen: Mapping[str, Any]) -> str:
    """Return the API's URL where a host or the domain says it, or nothing."""
    if "API_HOST" in chosen:
        return f"https://{chosen['API_HOST']}"
    return f"https://api.{chosen['DNS_TLD']}" if "DNS_TLD" in chosen else ""


def _place(
    chosen: Mapping[str, Any], name: str, example: int, proxy_port: int, usual: str
) -> str:
    """Return where something is shown by variables of that name, if anywhere."""
    host, port = chosen.get(f"{name}_HOST"), chosen.get(f"{name}_PORT")
    if port is None:
        if host:
            raise ValueRefused(
                f"{name}_HOST: has no effect without {name}_PORT; set"
                f" {name}_PORT={example} as well"
            )
        return ""
    if port == proxy_port:
        raise ValueRefused(
            f"{name}_PORT: {port} is the port of the proxy itself; choose another, as"
            f" {name}_PORT={example}"
        )
    host = host or (LOOPBACK if usual == "localhost" else usual)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _format(value: object, text: str) -> str:
    """Return a value as mitmproxy takes it, or its text where that is read again."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | Path) else text


def _set(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _extra(environment: Mapping[str, str], chosen: Collection[str]) -> list[str]:
    """Return the arguments in ARGS; none that mitmproxy would ignore in silence.

    Nor any that would undo what a variable chose.
    """
    try:
        words = shlex.split(environment.get("ARGS", ""))
    except ValueError as error:
        raise ValueRefused(f"ARGS: {error}; close what is quoted") from error
    fixed = set(re.findall(r"^(\w+):", CONF.read_text(), re.MULTILINE))
    apart = [part for word in words for part in _apart(word)]
    for flag in _LISTEN_FLAGS.intersection(apart):
        raise ValueRefused(
            f"ARGS: {flag} has no effect; write LISTEN_HOST=127.0.0.1 and"
            " PROXY_PORT=8080 in its place"
        )
    for flag, word in pairwise(apart):
        name = word.partition("=")[0]
        if flag == "--set" and name in chosen:
            raise ValueRefused(
                f"ARGS: --set {name} contradicts {_VARIABLE_OF[name]}: use one of them,"
                f" as in {_VARIABLE_OF[name]}={word.partition('=')[2]}"
            )
        if flag == "--set" and name in fixed:
            raise ValueRefused(
                f"ARGS: --set {name} has no effect, because {CONF.name} sets {name}"
                " and mitmproxy prefers that: change it there"
            )
    return words


def _apart(word: str) -> tuple[str, ...]:
    """Return `--set=option=value` in two words, as mitmproxy takes it too."""
    flag, _, rest = word.partition("=")
    return (flag, rest) if flag == "--set" and rest else (word,)


def _usual_confdir(environment: Mapping[str, str]) -> Path:
    """Return the checkout's own, or for a wheel the user's."""
    if IS_CHECKOUT:
        return ROOT / ".mitmproxy"
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "registry-proxy"
