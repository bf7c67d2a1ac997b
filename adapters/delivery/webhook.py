"""Delivery to a web address: one signed POST for each attempt.

Requests are signed as Standard Webhooks says (standardwebhooks.com), which receivers can check in most languages.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import hashlib
import hmac
import importlib.util
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from ...errors import DeliveryRefused, ExecutusError, ExtraMissing
from ...ports import ArtifactStore, Parcel
from .parcels import content_of, described, described_artifact

if TYPE_CHECKING:
    import ssl

    from httpx2 import AsyncClient

TIMEOUT_S = 30.0
INLINE_BYTES = 4 * 2**20
MAX_RETRY_AFTER_S = 86_400.0
"""A receiver that asks us to wait for longer is asked again after a day."""

MAX_HOPS = 3
"""Redirects within the receiver's own address that one attempt follows."""

PASSING_STATUSES = frozenset({408, 425, 429})
"""HTTP statuses 4xx after which the same parcel may be taken."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_KEY = re.compile(r"[!-~]{1,255}")
_OURS = frozenset({"idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature", "content-type"})


class WebhookUnavailable(ExecutusError):
    """The receiver did not take the parcel this time. retry_after_s: seconds it asked us to wait, if it did."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class WebhookDelivery:
    """`Delivery` by POSTing JSON to `url`; any answer 2xx means that it was taken.

    The body is the manifest of the parcel with its output; artifacts come in base64 while they fit into `inline_bytes`,
    else by hash only (`content` is null). It is the same at every attempt, as is the header `Idempotency-Key`, the
    parcel's key. With `secret` a request also has `webhook-id`, `webhook-timestamp` and `webhook-signature`: "v1," and
    the base64 of HMAC-SHA256 over "id.timestamp.body". A secret that begins with "whsec_" is base64 behind that, any
    other its own bytes. headers: sent with each request, such as an authorization. timeout_s: of a whole attempt.
    client: an `httpx2.AsyncClient` of the host, for its proxies or certificates; used on the runtime's event loop and
    never closed here. Redirects are followed within the same scheme, host and port only. Neither the secret, a header's
    value nor more of the URL than its host is ever in an error or a repr; httpx2 itself logs the URL of each request
    at level INFO, so that a secret is better off in a header.

    Raises:
        ValueError: a URL, header, secret or number that cannot be used; says which, not its value.
        ExtraMissing: httpx2 is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        secret: str | bytes | None = None,
        timeout_s: float = TIMEOUT_S,
        inline_bytes: int = INLINE_BYTES,
        client: AsyncClient | None = None,
    ) -> None:
        self._url = url
        self._origin = _origin(_checked_url(url))
        self._headers = _checked_headers(headers or {})
        self._secret = _key_bytes(secret)
        if not 0 < timeout_s < float("inf"):
            raise ValueError(f"timeout_s: expected seconds above 0, got {timeout_s!r}")
        if inline_bytes < 0:
            raise ValueError(f"inline_bytes: expected 0 or more, got {inline_bytes!r}")
        self._timeout_s, self._inline_bytes, self._client = timeout_s, inline_bytes, client
        if importlib.util.find_spec("httpx2") is None:
            raise ExtraMissing("WebhookDelivery", "webhook")

    def __repr__(self) -> str:
        return f"WebhookDelivery({self._where!r})"

    @property
    def _where(self) -> str:
        scheme, host, port = self._origin
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    async def deliver(self, parcel: Parcel, artifacts: ArtifactStore) -> str:
        """Make one attempt; returns the answer's status, such as "HTTP 200". Cancelling stops it.

        Raises:
            DeliveryRefused: a status 4xx that no waiting changes, or an artifact is lost.
            WebhookUnavailable: anything else; carries the time the receiver asked us to wait.
        """
        if not _KEY.fullmatch(parcel.key):
            raise DeliveryRefused(f"key {parcel.key[:80]!a}: expected 1 to 255 printable ASCII characters")
        body = await asyncio.to_thread(self._body, parcel, artifacts)
        headers = {**self._headers, "content-type": "application/json", "idempotency-key": parcel.key}
        if self._secret is not None:
            stamp = str(int(time.time()))
            headers |= {
                "webhook-id": parcel.key,
                "webhook-timestamp": stamp,
                "webhook-signature": signature(self._secret, parcel.key, stamp, body),
            }
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._client is not None:
                    return await self._post(self._client, body, headers)
                certificates = await asyncio.to_thread(_certificates)
                from httpx2 import AsyncClient

                async with AsyncClient(verify=certificates) as client:
                    return await self._post(client, body, headers)
        except TimeoutError:
            raise WebhookUnavailable(f"{self._where}: no answer within {self._timeout_s:g} s") from None

    def _body(self, parcel: Parcel, artifacts: ArtifactStore) -> bytes:
        left = self._inline_bytes
        inside: list[dict[str, Any]] = []
        for artifact in parcel.artifacts:
            content, digest = None, artifact.sha256
            if artifact.size <= left:
                content = content_of(artifact, artifacts)
                left -= len(content)
                digest = hashlib.sha256(content).hexdigest()
            inside.append(described_artifact(artifact, digest) | {"content": content})
        return msgspec.json.encode(described(parcel) | {"output": parcel.output, "artifacts": inside})

    async def _post(self, client: AsyncClient, body: bytes, headers: dict[str, str]) -> str:
        from httpx2 import HTTPError, InvalidURL

        url = self._url
        for _ in range(MAX_HOPS + 1):
            try:
                # The answer's body is not read: it may be endless, and may repeat what we sent.
                async with client.stream(
                    "POST", url, content=body, headers=headers, follow_redirects=False, timeout=None
                ) as answer:
                    status, answered = answer.status_code, answer.headers
            except (HTTPError, InvalidURL, OSError) as error:
                # Their text may hold the URL or a header.
                raise WebhookUnavailable(f"{self._where}: {type(error).__name__}") from None
            if status not in (307, 308):
                break
            url = self._next(url, answered.get("location", ""), status)
        else:
            raise WebhookUnavailable(f"{self._where}: more than {MAX_HOPS} redirects")
        if 200 <= status < 300:
            return f"HTTP {status}"
        why = f"{self._where} answered {_named(status)}"
        if 400 <= status < 500 and status not in PASSING_STATUSES:
            raise DeliveryRefused(why)
        raise WebhookUnavailable(why, _seconds(answered.get("retry-after", "")))

    def _next(self, url: str, location: str, status: int) -> str:
        """Where a redirect leads.

        Raises:
            WebhookUnavailable: to another host, or nowhere.
        """
        try:
            target = urljoin(url, location)
            if location and _origin(urlsplit(target)) == self._origin:
                return target
        except ValueError:
            pass
        raise WebhookUnavailable(f"{self._where} answered {_named(status)} to another host, which is not followed")


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Trusted certificates; loading them takes a tenth of a second, once."""
    from httpx2 import create_ssl_context

    return create_ssl_context()


def signature(secret: bytes, key: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature` that a receiver should find; compare with `hmac.compare_digest`."""
    signed = b".".join((key.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def _checked_url(url: str) -> SplitResult:
    expected = "url: expected http(s)://host/… without a user name"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{expected} (credentials belong into headers)")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"headers: {name!a} is no name of a header")
        if name.lower() in _OURS:
            raise ValueError(f"headers: {name} is set for each delivery")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers: the value of {name} has characters that no header may have")
    return {name.lower(): value for name, value in headers.items()}


def _key_bytes(secret: str | bytes | None) -> bytes | None:
    if secret is None:
        return None
    key = secret.encode() if isinstance(secret, str) else secret
    if key.startswith(b"whsec_"):
        try:
            key = base64.b64decode(key.removeprefix(b"whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("secret: what follows 'whsec_' is not base64") from None
    if not key:
        raise ValueError("secret: it is empty")
    return key


def _named(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _seconds(retry_after: str) -> float | None:
    """What a header Retry-After asks for: seconds, or a date."""
    if re.fullmatch(r"[0-9]{1,15}", retry_after.strip()):
        seconds = float(retry_after)
    else:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
