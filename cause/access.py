"""Logins, tokens, realms, rights and clocks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus

from cause.evidence import Evidence
from cause.finding import Cause, Finding, Role, shown, shown_url
from resolver.errors import ErrorCode
from resolver.grammar.challenge import parse_challenge
from resolver.grammar.reference import brief_location
from resolver.grammar.timestamp import (
    describe_duration,
    format_timestamp,
    read_seconds,
)

CLOCK_SECONDS = 60
"""By how much clocks may differ, as registries allow."""
NO_KEY = (
    "it does not look like a balena API key, which has 32 letters and digits; it may be"
    " the password of an account"
)
"""Of a password."""
MAKE_KEY = (
    "make an API key in balenaCloud's dashboard, under Preferences, Access tokens"
)
_ISSUERS = (Role.TOKEN, Role.API)
"""Who issues tokens: as the doctor sees it, and as the proxy does."""
_CONTENT = frozenset({"manifest", "blob", "tags", "referrers"})
"""What a token that lets pull is for, by the kind of request."""
_TOO_LONG = (b"header or cookie too large", b"header field", b"headers too large")
"""In the pages of nginx, Apache and others that take no header of that length."""


def other_time(
    claims: Mapping[str, object],
    clocks: Mapping[Role, float],
    now: float,
    *,
    words: str,
) -> Finding | None:
    """Return that a token is not of the registry's present, if it is not.

    Args:
        claims: those of the token.
        clocks: seconds that the servers' clocks are ahead of this machine's.
        now: what this machine's clock says.
        words: what was seen of that.

    """
    begin, end = read_seconds(claims.get("nbf")), read_seconds(claims.get("exp"))
    begin = begin or read_seconds(claims.get("iat"))
    there = now + clocks.get(Role.REGISTRY, 0.0)
    is_early = begin is not None and begin > there + CLOCK_SECONDS
    is_late = end is not None and end < there - CLOCK_SECONDS
    if not (is_early or is_late):
        return None
    span = " to ".join(format_timestamp(t) for t in (begin, end) if t is not None)
    others = "".join(
        f", that of the {role} {format_timestamp(now + ahead)}"
        for role, ahead in clocks.items()
        if role in (Role.REGISTRY, *_ISSUERS)
    )
    fault, whose = _wrong_clock(claims, clocks, now)
    return Finding(
        Cause.CLOCK,
        f"{fault}, and {words}: the token is valid from {span}; this machine's clock"
        f" says {format_timestamp(now)}{others}",
        f"synchronise {whose} (NTP)",
    )


def _wrong_clock(
    claims: Mapping[str, object], clocks: Mapping[Role, float], now: float
) -> tuple[str, str]:
    """Say whose clock differs from those of the others and by how much, and whose."""
    issuer = next((role for role in _ISSUERS if role in clocks), Role.TOKEN)
    registry_ahead = clocks.get(Role.REGISTRY, 0.0)
    issuer_ahead = clocks.get(issuer, 0.0)
    issued = read_seconds(claims.get("iat"))
    if issued is not None and Role.REGISTRY in clocks:
        # What says the time of an answer may stand in front of who issues tokens.
        issuer_ahead = max(issuer_ahead, issued - now)
    apart = abs(registry_ahead - issuer_ahead)
    if apart <= CLOCK_SECONDS:
        both = f"the clocks of {Role.REGISTRY} and {issuer}"
        return f"the clock of the {Role.REGISTRY} or the {issuer} is wrong", both
    if abs(issuer_ahead) <= CLOCK_SECONDS:
        return _clock_of(Role.REGISTRY, registry_ahead)
    if abs(registry_ahead) <= CLOCK_SECONDS:
        return _clock_of(issuer, issuer_ahead)
    both = f"the clocks of {Role.REGISTRY} and {issuer}"
    return f"{both} are {_about(apart)} apart", both


def _clock_of(role: Role, ahead: float) -> tuple[str, str]:
    """Say how far the clock of one of them is from this machine's."""
    order = "ahead of" if ahead > 0 else "behind"
    whose = f"the clock of the {role}"
    return f"{whose} is {_about(ahead)} {order} this machine's", whose


def _about(seconds: float) -> str:
    """Say how far clocks are apart.

    To the second it cannot be known, by an answer that was on its way.
    """
    return describe_duration(round(abs(seconds) / 10) * 10)


def other_service(claims: Mapping[str, object], service: str | None) -> Finding | None:
    """Return that a token is for another registry than the one that wants it."""
    audiences = _audiences(claims)
    if not service or not audiences or service in audiences:
        return None
    return Finding(
        Cause.REALM,
        f"the token is for the service {shown(', '.join(audiences))}, and"
        f" the registry is {shown(service)}",
        "give registry and token server the same name of the service",
    )


def no_right(name: str, names: Collection[str]) -> Finding:
    """Return that a token is for other repositories than the one it is needed for."""
    others = f"only {shown(', '.join(sorted(names)))}" if names else "nor anything else"
    return Finding(
        Cause.RIGHTS,
        f"the token has no right to pull {name}, {others}",
        "check the name, and let the owner of the login be given the right",
    )


def other_issuer(claims: Mapping[str, object]) -> Finding:
    """Return that a registry does not trust who issued a token."""
    issuer, audience = claims.get("iss"), _audiences(claims)
    by = f" by the issuer {shown(issuer)}" if isinstance(issuer, str) else ""
    to = f" for the service {shown(', '.join(audience))}" if audience else ""
    return Finding(
        Cause.REALM,
        f"it does not take the token, which was issued{by}{to}",
        "in the registry's configuration compare auth.token.issuer with the issuer of"
        " the token, and auth.token.rootcertbundle with the token server's certificate",
    )


def _audiences(claims: Mapping[str, object]) -> Sequence[str]:
    """Return for whom a token is."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    return [str(each) for each in audiences if each is not None]


def _plain_realm(seen: Evidence) -> Finding | None:
    """Tell that tokens are asked for in plain HTTP by a client that came by TLS."""
    if seen.client_scheme != "https" or not seen.realm.startswith("http://"):
        return None
    return Finding(
        Cause.REALM,
        "the client came by https, as a reverse proxy in front says, and is sent to"
        f" {shown_url(seen.realm)} for its token, in plain HTTP",
        "let this proxy believe that reverse proxy, by TRUST_PROXY=true; or set"
        " PUBLIC_URL to the URL that clients use",
    )


def _unknown_key(seen: Evidence) -> Finding | None:
    """Tell that the API does not know a login."""
    is_own = seen.role is None and seen.code == ErrorCode.UNAUTHORIZED
    if seen.kind != "token" or not is_own or seen.has_own_names:
        return None
    if seen.is_like_key is False:
        return Finding(
            Cause.LOGIN,
            f"{seen.the_api} does not take the login; as for its password, {NO_KEY}",
            f"{MAKE_KEY}; then log in with any user name, and the key as password",
        )
    return Finding(
        Cause.LOGIN,
        f"{seen.the_api} does not know the key of the login, though it looks like"
        " one: it is mistyped, was revoked, has expired, or is another cloud's",
        "log in anew with a key that is valid there; what is public can be pulled"
        " without a login, so log out for that",
    )


def _refused_password(seen: Evidence) -> Finding | None:
    """Tell that a registry that takes logins itself does not take this one."""
    is_refused = seen.status == HTTPStatus.UNAUTHORIZED and seen.login == "key"
    if not (seen.has_own_names and seen.role is Role.REGISTRY and is_refused):
        return None
    return Finding(
        Cause.LOGIN,
        f"the registry {seen.host} does not take the user name and password of this"
        " client",
        "log in anew with a login of that registry, as with docker login; some want an"
        " access token in place of the password",
    )


def _refused_login(seen: Evidence) -> Finding | None:
    """Tell that the registry's own token server issues nothing for a login."""
    is_refused = seen.role is Role.TOKEN and seen.status == HTTPStatus.UNAUTHORIZED
    if not is_refused:
        return None
    if seen.login == "key":
        return Finding(
            Cause.LOGIN,
            f"the token server {shown(seen.host)} does not take the login: it is"
            " mistyped, was revoked or has expired",
            "log in anew; what is public can often be pulled without a login, so log"
            " out for that",
        )
    return Finding(
        Cause.LOGIN,
        f"the client did not log in, and the token server {shown(seen.host)} issues no"
        " token without a login",
        "log in",
    )


def _denied(seen: Evidence) -> Finding | None:
    """Tell that an application is not there for whoever asks."""
    is_own = seen.role is None and seen.code == ErrorCode.DENIED
    if not is_own or seen.has_own_names:
        return None
    slug = "/".join(seen.name.split("/")[:2])
    # The API names nobody in the token of somebody without a login.
    has_login = seen.login == "key" or bool(seen.claims.get("sub"))
    if seen.kind == "token" and seen.login == "token":
        has_login = True
    if not has_login:
        return Finding(
            Cause.LOGIN,
            f"the client did not log in, and without a login {seen.the_api} shows"
            f" no application {slug}: it is private, or does not exist",
            "log in with any user name, and a balena API key as password; if that does"
            " not help, check the name",
        )
    return Finding(
        Cause.RIGHTS,
        f"{seen.the_api} takes the login, and shows it no application {slug}: that"
        " does not exist, or the owner of the key may not see it",
        "check the name; if it is right, log in with a key of somebody who may see it,"
        " or let the owner of this one become a member of its organization",
    )


def _refused_token(seen: Evidence) -> Finding | None:
    """Tell why the registry does not take a token."""
    is_refused = seen.role is Role.REGISTRY and seen.status == HTTPStatus.UNAUTHORIZED
    if not is_refused or not seen.claims:
        return None
    words = f"the registry {seen.host} refuses the token"
    challenge = parse_challenge(seen.headers.get("www-authenticate", ""))
    if not (found := _over(seen)):
        clock = other_time(seen.claims, seen.clocks, seen.now, words=words)
        if clock:
            return clock
    if found is None and challenge:
        found = other_service(seen.claims, challenge.service)
    if found is None and seen.kind not in _CONTENT:
        return None  # Which may want another right than one to pull.
    found = found or _lost_right(seen)
    if found is None and challenge and challenge.error == "insufficient_scope":
        return None
    if found is None:
        is_unseen = challenge is not None and challenge.error is None
        return _unseen(seen) if is_unseen else _untrusted(seen)
    return found.after(words)


def _unseen(seen: Evidence) -> Finding:
    """Return that a registry was not shown the token that it was sent."""
    return Finding(
        Cause.BETWEEN,
        f"the registry {seen.host} answers 401 as if it had been sent no token",
        "let what stands in between, as a reverse proxy, pass the header Authorization"
        " on; if nothing does, compare auth.token.issuer and auth.token.rootcertbundle"
        " with who issues the tokens",
    )


def _untrusted(seen: Evidence) -> Finding:
    """Return that a registry does not trust who issued the token."""
    return other_issuer(seen.claims).after(f"the registry {seen.host} answers 401")


def _over(seen: Evidence) -> Finding | None:
    """Return that the time of a token is over, by clocks that agree on that."""
    end = read_seconds(seen.claims.get("exp"))
    if end is None or any(abs(c) > CLOCK_SECONDS for c in seen.clocks.values()):
        return None
    if end >= seen.now:
        return None
    return Finding(
        Cause.CLIENT,
        f"its time was over at {format_timestamp(end)}, and it is"
        f" {format_timestamp(seen.now)} now",
        "nothing, if the client gets another one and goes on, as clients do in a long"
        " pull; if it does not, pull again",
    )


def _forbidden(seen: Evidence) -> Finding | None:
    """Tell that the registry knows somebody, and does not let them pull."""
    is_forbidden = seen.role is Role.REGISTRY and seen.status == HTTPStatus.FORBIDDEN
    if not is_forbidden or seen.code != ErrorCode.DENIED:
        return None
    issuer = Role.TOKEN if seen.has_own_names else Role.API
    return Finding(
        Cause.RIGHTS,
        f"the registry {seen.host} takes the token, and does not let it pull"
        f" {seen.name}",
        f"compare the rights that the registry has with those that the {issuer}"
        " issues; some registries have a list of addresses that may pull",
    )


def _long_token(seen: Evidence) -> Finding | None:
    """Tell that a token is too long for a server's headers."""
    body = seen.body.lower()
    is_too_long = seen.status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE or (
        seen.status == HTTPStatus.BAD_REQUEST and any(x in body for x in _TOO_LONG)
    )
    if seen.role is not Role.REGISTRY or not seen.token_length or not is_too_long:
        return None
    less = "; or set balena_tags_max to less, so that tokens are shorter"
    if seen.has_own_names:
        less = ""  # They are as long as the registry has them made.
    return Finding(
        Cause.BETWEEN,
        f"the registry {seen.host}, or what stands before it, takes no header as long"
        f" as that of the token, of {seen.token_length} characters",
        "allow longer headers there, as with large_client_header_buffers in"
        f" nginx{less}",
    )


def _lost_right(seen: Evidence) -> Finding | None:
    """Return that a token may not pull what it is sent for, if it says so."""
    wanted = brief_location(seen.location) or seen.name
    if seen.pullable is None or not wanted:
        return None
    names = {brief_location(name) or name for name in seen.pullable}
    if wanted in names:
        return None
    if names or seen.claims.get("sub"):
        return no_right(shown(wanted), names)
    # Who issues tokens names nobody in that of somebody without a login.
    return Finding(
        Cause.LOGIN,
        f"without a login, it has no right to pull {shown(wanted)}",
        "log in; if that does not help, check the name",
    )


RULES: Sequence[Callable[[Evidence], Finding | None]] = (
    _plain_realm,
    _unknown_key,
    _refused_login,
    _refused_password,
    _denied,
    _refused_token,
    _forbidden,
    _long_token,
)
"""In the order in which they are asked."""
