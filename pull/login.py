"""Logins: the API key of the environment, and what `docker login` has kept.

docker keeps them in `config.json`, by itself or with a program for each host:
https://docs.docker.com/reference/cli/docker/login/#credential-stores
A balena API key belongs to balena: without a user name given it is sent only where
the token endpoint is balena's or this proxy's.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cause.finding import Cause, shown
from pull.fault import Fault
from pull.reference import HUB
from resolver.errors import RequestInvalid
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.credential import (
    KEY_VARIABLE,
    credential_of_environment,
    is_like_key,
)
from resolver.grammar.url import is_loopback
from resolver.upstream.registry import is_of_one_owner

BALENA_DOMAIN = "balena-cloud.com"

HELPER_SECONDS = 15
USER = "me"
"""The proxy and balena take any."""
_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers call a user without a password
_NOT_FOUND = "credentials not found"
_HELPER = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Login:
    """A user and what proves it; never shown, not even by ``repr``."""

    user: str
    secret: str = field(repr=False)
    source: str
    """Where it is from, in words."""
    is_identity: bool = False
    """Whether it is a token that others are asked for with (OAuth2)."""

    @property
    def is_like_key(self) -> bool:
        """Whether it looks like what balena issues, and not like a password."""
        return is_like_key(self.secret)


type FindLogin = Callable[[str, str], Login | None]
"""Finds the login for a registry's host and the realm that it names, if there is one;
raises a Fault where it cannot be read."""


def nobody(_host: str, _realm: str) -> None:
    """Find no login."""


def with_key(key: str) -> FindLogin:
    """Return what finds an API key for every host."""
    return lambda _host, _realm: Login(USER, key, "the caller")


def is_balena(realm: str) -> bool:
    """Return whether tokens are issued where balena and the proxy do it.

    Where the proxy passes a login on to another registry, its realm has a query.
    """
    return realm.endswith(TOKEN_PATH)


class Logins:
    """Finds the login for a host."""

    def __init__(self, environment: Mapping[str, str], user: str | None = None) -> None:
        """Take the key as the password of a user, where one is given."""
        self._environment = environment
        self._user = user
        folder = environment.get("DOCKER_CONFIG") or Path.home() / ".docker"
        self._path = Path(folder) / "config.json"

    def __call__(self, host: str, realm: str) -> Login | None:
        """Return the login for the host, if there is one.

        Raises:
            Fault: what is kept cannot be read.

        """
        try:
            key = credential_of_environment(self._environment).key
        except RequestInvalid as error:
            advice = f"unset {KEY_VARIABLE}, or set it anew"
            raise Fault(Cause.LOGIN, error.message, advice) from error
        if self._user is not None and not key:
            raise Fault(
                Cause.LOGIN,
                f"--username is given, and {KEY_VARIABLE} is not set",
                f"put the key or password into {KEY_VARIABLE}; without --username the"
                " login that docker keeps is used",
            )
        if key and (self._user is not None or self._may_have_key(host, realm)):
            return Login(self._user or USER, key, KEY_VARIABLE)
        return self._of_docker(host)

    def _may_have_key(self, host: str, realm: str) -> bool:
        """Return whether the key is sent there unasked.

        Any registry can name a realm as balena's is, so that alone is no reason.
        """
        name = urlsplit(f"//{host}").hostname or ""
        domain = self._environment.get("DNS_TLD") or BALENA_DOMAIN
        is_ours = is_loopback(host) or name == domain or name.endswith(f".{domain}")
        return (
            is_ours
            and is_balena(realm)
            and is_of_one_owner(urlsplit(realm).hostname or "", name)
        )

    def _of_docker(self, host: str) -> Login | None:
        config = self._config()
        names = (_HUB_KEY,) if host == HUB else (host, f"https://{host}")
        for name in names:
            program = _row(config, "credHelpers").get(name) or config.get("credsStore")
            if program and (login := self._of_helper(str(program), name)):
                return login
            entry = _row(_row(config, "auths"), name)
            if token := entry.get("identitytoken"):
                return Login(_TOKEN_USER, str(token), str(self._path), is_identity=True)
            if text := entry.get("auth"):
                return self._of_entry(str(text))
        return None

    def _config(self) -> dict[str, Any]:
        try:
            config = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._unreadable(str(error)) from error
        return config if isinstance(config, dict) else {}

    def _of_entry(self, text: str) -> Login:
        try:
            user, _, secret = base64.b64decode(text).decode().partition(":")
        except ValueError as error:
            raise self._unreadable("an entry is no base64") from error
        return Login(user, secret.rstrip("\0"), str(self._path))

    def _of_helper(self, name: str, host: str) -> Login | None:
        """Ask the program as docker does.

        https://github.com/docker/docker-credential-helpers#development
        """
        program = f"docker-credential-{name}"
        if not _HELPER.fullmatch(name):
            raise self._unreadable(f"{shown(name)} is no credential helper")
        try:
            # It is what docker itself would run.
            done = subprocess.run(  # noqa: S603
                [program, "get"],
                input=host,
                capture_output=True,
                text=True,
                timeout=HELPER_SECONDS,
                env=os.environ | self._environment,
                check=False,
            )
            if done.returncode:
                if _NOT_FOUND in done.stdout + done.stderr:
                    return None
                raise self._unhelpful(program, done.stdout or done.stderr)
            answer = json.loads(done.stdout)
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._unhelpful(program, str(error)) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self._unhelpful(program, "what it prints is no login") from error
        return Login(user, secret, program, is_identity=user == _TOKEN_USER)

    def _unreadable(self, why: str) -> Fault:
        return Fault(
            Cause.LOGIN,
            f"docker's logins in {self._path} cannot be read: {shown(why)}",
            "mend the file, or name another folder by DOCKER_CONFIG",
        )

    def _unhelpful(self, program: str, why: str) -> Fault:
        return Fault(
            Cause.LOGIN,
            f"{program}, which {self._path} names, gives no login: {shown(why)}",
            f"mend it, or take it out of the file; {KEY_VARIABLE} needs neither",
        )


def _row(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object at the name, or an empty one."""
    row = table.get(name)
    return row if isinstance(row, dict) else {}
