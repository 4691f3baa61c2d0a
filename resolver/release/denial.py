"""Why an application is denied to somebody at a prompt, where no client logs in."""

from resolver.errors import AccessDenied, CredentialRejected, RegistryError
from resolver.grammar.credential import KEY_VARIABLE, Credential
from resolver.grammar.reference import Slug
from resolver.upstream.api import Api
from resolver.upstream.deadline import Deadline


def explain_denial(
    slug: Slug, api: Api, credential: Credential, deadline: Deadline
) -> RegistryError:
    """Return what to say where the API showed no application.

    It takes a wrong key for none and shows what is public, so the token endpoint is
    asked, which does not.

    Raises:
        RateLimited: the API limits the rate.
        ServiceUnavailable: it fails, or does not answer in time.

    """
    message = f"{slug} is private or does not exist: check its name"
    if credential.key is None:
        return AccessDenied(
            f"{message}; for a private one {KEY_VARIABLE} has to hold a balena API key"
        )
    try:
        api.token((), None, credential, deadline)
    except CredentialRejected:
        return CredentialRejected(
            f"the key in {KEY_VARIABLE} is wrong or expired: the balena API does not"
            f" accept it; without a key, {slug} is private or does not exist"
        )
    return AccessDenied(
        f"{message}; the key in {KEY_VARIABLE} may have no right to see it"
    )
