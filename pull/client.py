"""A container client small enough to read: it pulls one image, and shows how.

It does what docker and the others do, and shows each step:
https://distribution.github.io/distribution/spec/auth/token/
"""

from hashlib import sha256
from http import HTTPStatus
from itertools import count

from cause.finding import Cause, Role, shown, shown_url
from mitm.story.quantity import read_size
from pull import refusal
from pull.blob import fetch
from pull.connection import Answer, Connection, Trust
from pull.fault import Fault
from pull.layout import Layout
from pull.login import FindLogin, Login, nobody
from pull.manifest import ACCEPT, Descriptor, Manifest, read_manifest, this_platform
from pull.place import Place
from pull.progress import Tell, progress, whole
from pull.reference import Reference
from pull.refusal import Situation
from resolver.grammar.challenge import Challenge, parse_challenge
from resolver.grammar.credential import basic_authorization
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import parse_digest
from resolver.grammar.scope import Scope
from resolver.token.claims import read_claims, read_token

EXPIRES_SECONDS = 60
"""For how long a token holds that does not say it."""
_HIDDEN = "(secret)"
_FIRST_BYTE = "bytes=0-0"


class Client:
    """Pulls an image, and says each step through `tell`."""

    def __init__(
        self,
        tell: Tell,
        *,
        trust: Trust | None = None,
        find_login: FindLogin = nobody,
        platform: str | None = None,
        has_bars: bool = False,
        is_check: bool = False,
        is_prefetch: bool = False,
    ) -> None:
        """Take what holds for any image.

        Args:
            tell: takes each line.
            trust: whose certificates count; otherwise those of the system.
            find_login: finds the login for the registry, when that wants one.
            platform: which image of an index; otherwise this machine's.
            has_bars: whether bars are written to standard output.
            is_check: whether one byte of each blob is enough.
            is_prefetch: whether it is for others, whom the registry's host shall serve:
                every image of an index, where no platform is named, and no blob from
                elsewhere, for that host keeps what passes through it alone.

        """
        self._trust = trust or Trust()
        self._say = tell
        self._find_login = find_login
        self._platform = platform or ("" if is_prefetch else this_platform())
        self._has_bars = has_bars
        self._is_check = is_check
        self._is_prefetch = is_prefetch

    def pull(self, reference: Reference, layout: Layout | None = None) -> int:
        """Pull the image and return how many bytes its blobs have.

        Raises:
            Fault: an answer is not as it should be, or there is none.

        """
        self._steps = count(1)
        self._here = Situation(reference)
        self._storages: set[str] = set()
        self._authorization: str | None = None
        if layout:
            layout.prepare()
        try:
            with Connection(self._trust) as self._connection:
                return self._blobs(self._manifests(), layout)
        except Fault as fault:
            sentence = self._hide(str(fault))
            raise Fault(fault.cause, sentence, self._hide(fault.advice)) from fault

    def _manifests(self) -> list[Manifest]:
        """Return the image's manifest, or those of several, after all before it."""
        version = self._here.reference.version
        path = self._path("manifests", version)
        self._step(f"ask for the manifest, without a token\n     GET {path}")
        answer = self._ask(path)
        is_registry = answer.place.role is Role.REGISTRY
        if answer.status == HTTPStatus.UNAUTHORIZED and is_registry:
            self._log_in(answer.headers.get("WWW-Authenticate", ""), answer)
            manifest = self._manifest(version)
        else:
            manifest = self._checked(answer, version)
        if not manifest.is_index:
            return [manifest]
        if self._platform:
            chosen = [manifest.choose(self._platform)]
            self._tell(f"     it is an index, with an image for {self._platform}")
        else:
            chosen = manifest.images
            self._tell(f"     it is an index, of {len(chosen)} images")
        return [self._image(each) for each in chosen]

    def _image(self, chosen: Descriptor) -> Manifest:
        """Return the manifest of an image of an index."""
        image = self._manifest(chosen.digest)
        if image.descriptor.size != chosen.size:
            raise Fault(
                Cause.MANIFEST,
                f"the manifest has {image.descriptor.size} bytes, and the index says"
                f" {chosen.size}",
                "push the image anew",
            )
        if image.is_index:
            raise Fault(
                Cause.MANIFEST,
                "the index leads to another index, which clients do not follow",
                "push the image anew",
            )
        return image

    def _log_in(self, header: str, answer: Answer) -> None:
        challenge = parse_challenge(header)
        if challenge is None and "basic" in header.lower():
            self._tell("   401, and the challenge asks for user name and password")
            self._log_in_basic(answer)
            return
        if challenge is None:
            raise Fault(
                Cause.REALM,
                f"{answer.place} answers 401 without a challenge that says where to get"
                f" a token, but {shown(header) or 'without any'}",
                "let the registry, or what is in front of it, pass WWW-Authenticate on",
            )
        self._tell("   401, and the challenge says where to get one")
        self._tell(f"     realm   {shown(challenge.realm)}")
        self._tell(f"     service {shown(challenge.service or 'none')}")
        self._tell(f"     scope   {shown(challenge.scope or 'none')}")
        self._check_realm(challenge, answer.place)
        self._here.challenge = challenge
        self._get_login()
        self._get_token()

    def _check_realm(self, challenge: Challenge, registry: Place) -> None:
        realm = shown(challenge.realm)
        advice = (
            "let the registry name its realm as an absolute URL, as clients reach it;"
            " for the proxy that is PUBLIC_URL=https://<host>, or TRUST_PROXY=true"
            " behind a reverse proxy that sets X-Forwarded-Proto"
        )
        if challenge.origin is None:
            sentence = f"the realm of {registry} is no absolute URL: {realm}"
            raise Fault(Cause.REALM, sentence, advice)
        is_open = challenge.origin.startswith("http:")
        if is_open and registry.scheme == "https" and not self._trust.is_insecure:
            raise Fault(
                Cause.REALM,
                f"{registry} speaks TLS, and its realm does not: a login would go to"
                f" {realm} for all to read",
                advice,
            )

    def _get_login(self) -> None:
        self._here.login = self._find_login(self._here.reference.host, self._here.realm)

    def _log_in_basic(self, answer: Answer) -> None:
        self._get_login()
        login = self._here.login
        if login is None:
            raise refusal.refused(self._here, answer, answer.read())
        self._step(f"log in as {shown(login.user)}, with what {login.source} has")
        self._authorization = basic_authorization(login.user, login.secret)

    def _get_token(self, *, is_silent: bool = False) -> None:
        challenge, login = self._here.challenge, self._here.login
        assert challenge is not None, "it was met"  # noqa: S101
        if not is_silent:
            what = "ask for a token with that scope"
            who = f", as {shown(login.user)}, by {login.source}" if login else ""
            url = shown_url(challenge.realm)
            self._step(f"{what}{who}\n     GET {url}")
        answer = self._ask_token(challenge, login)
        body = answer.read()
        if answer.status != HTTPStatus.OK:
            raise refusal.refused(self._here, answer, body)
        text, seconds = _read_token(answer, body)
        self._authorization, self._here.token = f"Bearer {text}", text
        token = read_token(text)
        if is_silent:
            return
        seconds = read_claims(token.jwt).expires_in or seconds
        aliases = token.aliases
        carries = ""
        if aliases.candidates or aliases.refusals:
            carries = ", which carries what the proxy found"
        self._tell(f"   200, a token for {seconds} seconds{carries}")
        for alias, candidates in aliases.candidates.items():
            for location in candidates.locations:
                self._tell(f"     alias    {alias}\n     location {location}")
        for refused in aliases.refusals.values():
            self._tell(f"     refusal  {shown(refused.message)}")

    def _ask_token(self, challenge: Challenge, login: Login | None) -> Answer:
        """Ask by GET, or with an identity token as OAuth2 has it, by POST."""
        scope = challenge.scope or str(Scope(self._here.reference.name))
        query = {"scope": scope}
        if challenge.service is not None:
            query["service"] = challenge.service
        url = challenge.realm
        if login and login.is_identity:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": login.secret,
                "client_id": "registry-proxy",
            }
            answer = self._connection.ask(Role.TOKEN, url, form=form)
            if answer.status not in (
                HTTPStatus.NOT_FOUND,
                HTTPStatus.METHOD_NOT_ALLOWED,
            ):
                return self._noted(answer)
            answer.close()
        authorization = None
        if login:
            authorization = basic_authorization(login.user, login.secret)
        return self._noted(
            self._connection.ask(
                Role.TOKEN, url, authorization=authorization, query=query
            )
        )

    def _manifest(self, version: str) -> Manifest:
        path = self._path("manifests", version)
        means = "token" if self._here.challenge else "login"
        if self._authorization is None:
            self._step(f"ask for the manifest of the image\n     GET {path}")
        else:
            self._step(f"ask for the manifest, with the {means}\n     GET {path}")
        return self._checked(self._ask(path), version)

    def _checked(self, answer: Answer, version: str) -> Manifest:
        """Return the manifest that was answered, checked against its digest."""
        body = answer.read()
        if refusal.is_page(answer, body):
            raise refusal.no_registry(answer, body)
        if answer.status != HTTPStatus.OK:
            self._check_registry(answer.status)
            raise refusal.refused(self._here, answer, body)
        told = answer.headers.get("Docker-Content-Digest", "")
        asked = version if ":" in version else parse_digest(told)
        promise = Descriptor("", asked or f"sha256:{sha256(body).hexdigest()}", 0)
        digest = promise.hash()
        digest.update(body)
        if not promise.fits(digest):
            raise Fault(
                Cause.MANIFEST,
                f"the bytes of the manifest from {answer.place} are not those of"
                f" {promise.digest}, but have the digest {digest.hexdigest()}",
                "pull again; if it stays so, something on the way changes answers",
            )
        kind = answer.headers.get("Content-Type", "")
        manifest = read_manifest(body, kind, promise.digest)
        self._tell(f"   200, {manifest.descriptor.media_type}")
        self._tell(f"     digest  {promise.digest}, checked")
        return manifest

    def _check_registry(self, status: int) -> None:
        """See whether there is a registry at all, where it has not shown that it is.

        Raises:
            Fault: there is none.

        """
        if self._authorization is not None or status >= HTTPStatus.TOO_MANY_REQUESTS:
            return
        answer = self._ask("/v2/")
        body = answer.read()
        if answer.status in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED):
            return
        if answer.status < HTTPStatus.TOO_MANY_REQUESTS:
            raise refusal.no_registry(answer, body)

    def _blobs(self, manifests: list[Manifest], layout: Layout | None) -> int:
        named = {blob.digest: blob for each in manifests for blob in each.blobs}
        blobs = list(named.values())
        size = sum(blob.size for blob in blobs)
        if self._is_check:
            self._step("ask for the first byte of each blob")
            for blob in blobs:
                self._touch(blob)
            return size
        self._step("ask for the blobs, and check each against its digest")
        there = {blob.digest for blob in blobs if layout and layout.has(blob)}
        if layout:
            layout.check_room(sum(b.size for b in blobs if b.digest not in there))
        for blob in blobs:
            if blob.digest in there:
                self._tell(whole(blob, "checked, there already"))
            else:
                self._blob(blob, layout)
        if layout:
            for manifest in manifests:
                layout.add(manifest, self._here.reference.title)
        return size

    def _blob(self, blob: Descriptor, layout: Layout | None) -> None:
        def ask(begin: int) -> Answer:
            return self._ask_blob(blob, f"bytes={begin}-" if begin else None)

        with progress(blob.short, blob.size, self._tell, has_bar=self._has_bars) as bar:
            if layout is None:
                fetch(ask, blob, None, bar)
            else:
                with layout.new(blob) as file:
                    fetch(ask, blob, file, bar)
        self._tell(whole(blob, "checked"))

    def _touch(self, blob: Descriptor) -> None:
        # Not by HEAD: a signed URL of a storage is good for GET alone.
        self._ask_blob(blob, _FIRST_BYTE).close()
        self._tell(f"     {blob.short} {blob.size / 1e6:8.3f} MB, there")

    def _ask_blob(self, blob: Descriptor, span: str | None) -> Answer:
        """Return the blob, or a part of it; with a new token where the old one ended.

        Raises:
            Fault: it is refused.

        """
        path = self._path("blobs", blob.digest)
        headers = {"Range": span} if span else {}
        answer = self._ask(path, headers)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._here.challenge:
            answer.close()
            self._get_token(is_silent=True)
            answer = self._ask(path, headers)
        fine = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}
        if span and (span != _FIRST_BYTE or not blob.size):
            # It has no more bytes, which is right for an empty one.
            fine.add(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        if answer.status not in fine:
            raise refusal.refused(self._here, answer, answer.read())
        if answer.place.role is Role.STORAGE:
            if self._is_prefetch:
                raise refusal.passes_by(self._here, answer)
            storage = answer.place.netloc
            if storage not in self._storages:
                self._storages.add(storage)
                self._tell(f"     from the storage {shown(storage)}")
        return answer

    def _ask(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self._noted(
            self._connection.ask(
                Role.REGISTRY,
                self._here.reference.url + path,
                authorization=self._authorization,
                headers={"Accept": ACCEPT} if headers is None else headers,
            )
        )

    def _noted(self, answer: Answer) -> Answer:
        """Return the answer, after a look at the server's clock."""
        if (clock := answer.clock) is not None:
            self._here.clocks[answer.place.role] = clock
        return answer

    def _path(self, kind: str, version: str) -> str:
        return f"/v2/{self._here.reference.name}/{kind}/{version}"

    def _step(self, text: str) -> None:
        self._tell(f"{next(self._steps)}. {text}")

    def _tell(self, text: str) -> None:
        self._say(self._hide(text))

    def _hide(self, text: str) -> str:
        """Return the text without what proves the login, should a server repeat it."""
        login = self._here.login
        password = login.secret if login else ""
        sent = basic_authorization(login.user, password) if login else ""
        for secret in (password, sent.partition(" ")[2], self._here.token):
            if secret:
                text = text.replace(secret, _HIDDEN)
        return text


def _read_token(answer: Answer, body: bytes) -> tuple[str, int]:
    """Return the token of an answer, and for how many seconds it holds."""
    try:
        payload = parse_payload(body)
    except ValueError:
        payload = None
    match payload:
        case {"token": str(text), **rest} | {"access_token": str(text), **rest} if text:
            seconds = rest.get("expires_in")
            return text, read_size(seconds) or EXPIRES_SECONDS
    raise Fault(
        Cause.REALM,
        f"{answer.place} answers {refusal.said(answer, body)}, without a token in it",
        "set the realm of the registry right; for the proxy that is API_URL or"
        " PUBLIC_URL",
    )
