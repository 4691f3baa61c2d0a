"""What a client does, as far as its ``User-Agent`` tells: only what no answer can ask.

Seen with docker 20.10 to 28.5, containerd 1.6 to 2.1, podman 4.3 to 5.8, crane 0.20
and oras 1.3. A client that is not known is taken for one that does as the
specifications say.
"""

import re
from dataclasses import dataclass

_CONTAINERD = re.compile(r"(?:containerd|buildkit)/|docker/.* containerd-client/")
_ORAS = re.compile(r"oras")
_ENGINE = re.compile(r"(?:docker|balena-engine|balena|moby)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """A client, by the ``User-Agent`` that it sends."""

    user_agent: str

    @property
    def takes_scopes(self) -> bool:
        """Whether it gets another token where a challenge says so.

        docker's classic store does not; so the token that it has must do.
        """
        is_engine = bool(_ENGINE.match(self.user_agent))
        return not is_engine or self.shows_reason_phrases

    @property
    def shows_reason_phrases(self) -> bool:
        """Whether its user sees of an error only the status line, and that of no 404.

        containerd's resolver, and so docker with the containerd store, BuildKit and
        Kubernetes, asks for a manifest with HEAD, and an answer to that has no words.
        """
        return bool(_CONTAINERD.match(self.user_agent))

    @property
    def shows_token_errors(self) -> bool:
        """Whether its user sees why there is no token better than any other reason."""
        return self.shows_reason_phrases or self.hides_missing

    @property
    def hides_missing(self) -> bool:
        """Whether its user sees nothing of a 404 that is not for a token."""
        return bool(_ORAS.match(self.user_agent))
