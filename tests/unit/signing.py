"""Requests signed as clients sign them, by botocore: what the verification is held against."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from multidict import CIMultiDict

from proxy.dynamodb.errors import DynamoDBError
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.wire.signatures import Signatures

KEY = Credential("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
OTHER_KEY = Credential("CATALOGUE", "a secret of its own")
REGION = "us-east-1"
NOW = 1_790_000_000.5  # 2026-09-21T14:13:20Z
BODY = b'{"TableName":"items","Key":{"id":{"S":"1"}}}'
SERVICE = "com.amazon.coral.service"
HOST = "127.0.0.1:8000"


class _QueryWithBody(auth.SigV4QueryAuth):  # type: ignore[misc]  # botocore has no types
    """botocore moves a body into the query that it presigns; here it stays, and its hash is signed."""

    def __init__(self, *arguments: Any, body: bytes, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._body = body

    def payload(self, request: AWSRequest) -> str:
        return sha256(self._body).hexdigest()


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it comes off the wire."""

    method: str = "POST"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = BODY
    now: float = field(default=NOW, kw_only=True)

    def without(self, name: str) -> "Sent":
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name.lower()))

    def changed(self, name: str, value: str) -> "Sent":
        """With another value for a header that it has."""
        assert any(pair[0].lower() == name.lower() for pair in self.headers)
        return replace(
            self, headers=tuple((n, value) if n.lower() == name.lower() else (n, v) for n, v in self.headers)
        )

    def plus(self, name: str, value: str) -> "Sent":
        return replace(self, headers=(*self.headers, (name, value)))

    def value(self, name: str) -> str:
        return next(value for n, value in self.headers if n.lower() == name.lower())

    def in_authorization(self, old: str, new: str) -> "Sent":
        assert old in self.value("Authorization")
        return self.changed("Authorization", self.value("Authorization").replace(old, new))


def signed(
    *,
    method: str = "POST",
    target: str = "/",
    body: bytes = BODY,
    headers: Mapping[str, str] | None = None,
    key: Credential = KEY,
    region: str = REGION,
    service: str = "dynamodb",
    at: float = NOW,
    action: str = "GetItem",
    presigned: int | None = None,
) -> Sent:
    """A request as an SDK sends it; `presigned` says for how many seconds, and puts the signature into the query."""
    given = {"X-Amz-Target": f"DynamoDB_20120810.{action}", "Content-Type": "application/x-amz-json-1.0"}
    given |= headers or {}
    data = b"" if presigned is not None else body
    request = AWSRequest(method=method, url=f"http://{HOST}{target}", data=data, headers=given)
    credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token)
    moment = datetime.datetime.fromtimestamp(int(at), datetime.UTC).replace(tzinfo=None)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        if presigned is None:
            auth.SigV4Auth(credentials, service, region).add_auth(request)
        else:
            _QueryWithBody(credentials, service, region, expires=presigned, body=body).add_auth(request)
    parts = urlsplit(request.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    sent = CIMultiDict(request.headers.items())
    sent.setdefault("Host", HOST)
    return Sent(method, target, tuple(sent.items()), body)


def check(signatures: Signatures, sent: Sent) -> None:
    signatures.claim(sent.method, sent.target, CIMultiDict(sent.headers), sent.now).check(sent.body)


def verdict(sent: Sent, *keys: Credential, region: str = REGION) -> str | None:
    """None: it may pass. Otherwise the refusal, as `Code: message`."""
    try:
        check(Signatures(keys or (KEY, OTHER_KEY), region), sent)
    except DynamoDBError as refusal:
        told = refusal.document()["__type"]
        return str(refusal) if (refusal.status, told) == (400, f"{SERVICE}#{refusal.code}") else repr((refusal, told))
    return None
