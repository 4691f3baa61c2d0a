"""What clients do that get no image: each has to be told why, and no other reason."""

from base64 import urlsafe_b64encode
from json import dumps

from resolver.grammar.challenge import TOKEN_PATH
from soak.client import BOTH, REGISTRY, Client
from soak.fault import AFTERMATH_SECONDS
from soak.outcome import FAILURES, Question
from soak.pull import BROWSER, NEWEST, PRIVATE, PUBLIC, choose
from soak.reply import NO_CODE

UNKNOWN = "404 NAME_UNKNOWN"
TAG_UNKNOWN = "404 MANIFEST_UNKNOWN"
DENIED = "403 DENIED"
INVALID = "400 NAME_INVALID"
UNAUTHORIZED = "401 UNAUTHORIZED"
UNSUPPORTED = "400 UNSUPPORTED"
NOWHERE = "404 UNSUPPORTED"
NOT_ALLOWED = "405 UNSUPPORTED"
REFUSED = {
    f"{BROWSER}/9.9.9": UNKNOWN,
    f"{BROWSER}/3.0.0": UNKNOWN,
    f"{BROWSER}/2.4": UNKNOWN,
    f"{BROWSER}/fffffff": UNKNOWN,
    f"{BROWSER}/1.7.0": UNKNOWN,
    f"{BROWSER}/1.7.0/web": UNKNOWN,
    "balenablocks/empty-app": TAG_UNKNOWN,
    "balenablocks/multi-app/1.0.0": UNKNOWN,
    PRIVATE: DENIED,
    f"{PRIVATE}/1.0.0": DENIED,
    "nobody/nothing": DENIED,
    "nobody/nothing/1.0.0": DENIED,
    "alpine": INVALID,
    "a/b/c/d/e": INVALID,
}
ELSEWHERE = (
    ("GET", "/", NOWHERE),
    ("GET", "/v1/search", NOWHERE),
    ("GET", "/v2/_catalog", NOWHERE),
    ("GET", "/v7/release", NOWHERE),
    ("GET", "/v2/UPPER/case/manifests/latest", INVALID),
    ("GET", f"/v2/{BROWSER}/blobs/sha256:1", INVALID),
    ("PUT", f"/v2/{BROWSER}/manifests/latest", NOT_ALLOWED),
    ("POST", f"/v2/{BROWSER}/blobs/uploads/", NOT_ALLOWED),
    ("DELETE", f"/v2/{BROWSER}/manifests/latest", NOT_ALLOWED),
    ("DELETE", TOKEN_PATH, NOT_ALLOWED),
    ("POST", "/ping", NOT_ALLOWED),
)
WRONG_KEYS = 8
"""So few, because the proxy remembers for each of them what it found."""
SCOPES_TOO_MANY = 33
READINESS_SECONDS = AFTERMATH_SECONDS + 15
"""For how long a check of readiness may still stand for what is mended: it takes five
seconds, and is remembered for ten."""


def be_refused(client: Client) -> None:
    """Ask for what is not there, or not for everybody."""
    name, expected = client.chance.choice(list(REFUSED.items()))
    if client.happens(0.3):
        number = client.chance.randrange(1000)
        name, expected = f"{BROWSER}/7.{number}", UNKNOWN
    token = client.get_token(name)
    for _ in range(client.chance.randint(1, 3)):
        client.get_manifest(name, token, expected=expected, needs=())


def be_unknown(client: Client) -> None:
    """Log in with a key that nobody has, or with one of somebody else's."""
    if client.happens(0.5):
        login = ("u", f"wrong-key-{client.chance.randrange(WRONG_KEYS)}")
        client.get_token(choose(client).alias, login=login, expected=UNAUTHORIZED)
        return
    token = client.get_token(PRIVATE, login=("u", client.scene.cloud.keys["bob"]))
    client.get_manifest(PRIVATE, token, expected=DENIED, needs=())


def forge(client: Client) -> None:
    """Bring a token that is none, or that was issued for something else."""
    other = f"{BROWSER}/2.3.8_rev1"
    jwt = client.get_token(other).partition("~")[0]
    name = client.chance.choice([alias for alias in PUBLIC if alias != other])
    aliases = {"v": 1, "a": {name: f"v2/{NEWEST}"}, "r": {}}
    suffix = urlsafe_b64encode(dumps(aliases).encode()).decode().rstrip("=")
    # The registry itself has to see that the token is for another location.
    forged = f"{jwt}~{suffix}"
    tokens = ("x", "~", "x.y.z~%%", f"{jwt}~{suffix[:-3]}!", jwt)
    client.get_manifest(name, forged, expected=UNAUTHORIZED)
    client.get_manifest(
        name, client.chance.choice(tokens), expected=UNAUTHORIZED, needs=()
    )


def go_elsewhere(client: Client) -> None:
    """Ask for what a proxy of registries does not serve."""
    for method, path, expected in client.chance.sample(ELSEWHERE, 3):
        client.ask(Question(f"{method} {path}", (expected,)), path)
    scopes = "+".join(f"repository:a/b{n}:pull" for n in range(SCOPES_TOO_MANY))
    question = Question(f"GET {TOKEN_PATH} for {SCOPES_TOO_MANY}", (UNSUPPORTED,))
    client.ask(question, f"{TOKEN_PATH}?scope={scopes}")
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    question = Question(f"POST {TOKEN_PATH} to refresh", (NOWHERE,))
    client.ask(question, TOKEN_PATH, form=form)


def check_health(client: Client) -> None:
    """Ask as an orchestrator does, and what a wrong token is told at the base."""
    for method in ("GET", "HEAD"):
        client.ask(Question(f"{method} /ping", ("200",)), "/ping")
    question = Question(
        "GET /ready",
        ("200",),
        BOTH,
        excused=FAILURES | {f"503 {NO_CODE}"},
        aftermath=READINESS_SECONDS,
    )
    client.ask(question, "/ready")
    question = Question("GET /v2/", (UNAUTHORIZED,), REGISTRY)
    client.ask(question, "/v2/", headers={"Authorization": "Bearer x.y.z"})
    client.get_token()
