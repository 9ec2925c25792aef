"""Say whether a request was signed with a key that we know: Signature Version 4, seen from the server's side.

The rules are those of «Create a signed AWS API request» (IAM user guide), for headers and for the query of a presigned
request. The codes are those of «Error handling with DynamoDB» (developer guide); the order of the checks and the words
are as they were seen of the service (notes in dynalite's source, and what SDKs' users report). Nothing here does I/O or
knows what a request asks for, and no message says more than the request said itself.

What can be changed without the signature telling must not matter: so beside `host` every `x-amz-*` header must be
signed, as the guide asks of clients. The body is always hashed: `x-amz-content-sha256` is a header like any other,
because UNSIGNED-PAYLOAD is Amazon S3's alone («Authenticating Requests», S3 API reference).
"""

import calendar
import hmac
import itertools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from multidict import CIMultiDict, CIMultiDictProxy

from proxy.dynamodb.errors import DynamoDBError
from proxy.stores.dynamodb.sigv4 import ALGORITHM, Credential, SigningKey, amz_date, signing_key

CLOCK_SECONDS: Final = 300
SERVICE: Final = "dynamodb"  # of its streams too
LONGEST_SECONDS: Final = 604_800  # a presigned request is good for a week at most

_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_TERM: Final = "aws4_request"
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SPACES: Final = re.compile(r"[ \t]+")
_AMZ: Final = frozenset("".join(letters) for letters in itertools.product(*((c, c.upper()) for c in "x-amz-")))
_TOKEN: Final = "X-Amz-Security-Token"  # noqa: S105  # a name
_IN_QUERY: Final = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")

Headers = CIMultiDict[str] | CIMultiDictProxy[str]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its own signature, but for the signature. `signed` are the names of headers as they came.

    `good` is for how many seconds it says that it is good; `moment` is its date in seconds since 1970.
    """

    algorithm: str
    credential: str
    signed: str
    names: frozenset[str]
    date: str
    moment: int
    good: int


class Claimed:
    """A request that is in order but for its signature, which is its body's too: only `check` says that it may pass."""

    __slots__ = ("_before", "_key", "_request", "_signature", "_temporary")

    def __init__(self, key: SigningKey, before: str, request: str, signature: str, *, temporary: bool) -> None:
        """`before` and `request` are the string to sign and the canonical request, each up to its last line."""
        self._key = key
        self._before = before
        self._request = request
        self._signature = signature
        self._temporary = temporary

    def check(self, body: bytes) -> None:
        """Return if the request with this body is signed with the key. Raises as `Signatures.claim` does."""
        request = f"{self._request}{sha256(body).hexdigest()}".encode("utf-8", "surrogateescape")
        expected = self._key.sign(f"{self._before}{sha256(request).hexdigest()}".encode())
        if not hmac.compare_digest(expected.encode(), self._signature.encode("utf-8", "surrogateescape")):
            raise _invalid(_MISMATCH)
        if self._temporary:  # none of the keys is
            raise _unrecognized("The security token included in the request is invalid")


class Signatures:
    """The keys that clients may sign with, in one region."""

    def __init__(self, keys: Iterable[Credential], region: str) -> None:
        self._secrets = {key.access_key_id: key.secret_access_key for key in keys}
        self._region = region
        # A refusal is not kept, so nobody who has no key can push out what is.
        self._scoped = lru_cache(maxsize=1024)(self._find_scope)

    def claim(self, method: str, target: str, headers: Headers, now: float) -> Claimed:
        """What can be said before the body has come: strangers need not be listened to for longer.

        `target` is the path and query as they came. Raises DynamoDBError, with status 400: MissingAuthenticationToken-,
        IncompleteSignature-, InvalidSignature- or UnrecognizedClientException.
        """
        path, _, query = target.partition("?")
        pairs = _pairs(query) if query else ()
        given = headers.get("Authorization")
        if any(name == _IN_QUERY[0] for name, _ in pairs):
            if given is not None:
                raise _invalid(
                    "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
                )
            claim, signature = _claim_of_query(pairs)
            pairs = tuple(pair for pair in pairs if pair[0] != "X-Amz-Signature")
        elif given is not None and given.startswith("AWS4-"):
            claim, signature = _claim_of_headers(given, headers)
        else:
            raise DynamoDBError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        _check_time(claim, int(now))
        _check_names(claim, headers)
        key, before = self._scoped(claim.algorithm, claim.credential, claim.date)
        lines = "".join([f"{name}:{_value(name, headers)}\n" for name in claim.signed.split(";")])
        return Claimed(
            key,
            before,
            f"{method}\n{_path(path)}\n{_query(pairs)}\n{lines}\n{claim.signed}\n",
            signature,
            temporary=_TOKEN in headers or any(name == _TOKEN for name, _ in pairs),
        )

    def _find_scope(self, algorithm: str, credential: str, date: str) -> tuple[SigningKey, str]:
        """The key that must have signed, and what it signed up to the hash of the request."""
        if algorithm != ALGORITHM:
            raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). ")
        parts = credential.split("/")
        if len(parts) != 5:
            raise _incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                f"got '{credential}'"
            )
        access_key_id, day, region, service, term = parts
        wrong = ""
        if region != self._region:
            wrong += f"Credential should be scoped to a valid region, not '{region}'. "
        if service != SERVICE:
            wrong += f"Credential should be scoped to correct service: '{SERVICE}'. "
        if term != _TERM:
            wrong += f"Credential should be scoped with a valid terminator: '{_TERM}', not '{term}'. "
        if day != date[:8]:
            wrong += (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{day}' != '{date[:8]}', from '{date}'. "
            )
        if wrong:
            raise _invalid(wrong)
        secret = self._secrets.get(access_key_id)
        if secret is None:
            raise _unrecognized("The security token included in the request is invalid.")
        scope = f"{day}/{region}/{service}/{term}"
        return signing_key(secret, day, region, service), f"{ALGORITHM}\n{date}\n{scope}\n"


def _claim_of_headers(given: str, headers: Headers) -> tuple[_Claim, str]:
    date = headers.get("X-Amz-Date") or headers.get("Date") or ""
    before, mark, signature = given.rpartition("Signature=")  # as every SDK has it, last
    if mark and (claim := _usual(before, date)) is not None:
        return claim, signature
    fields = _fields(given)
    missing = "".join(
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in fields
    )
    if not date:
        missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    if missing:
        raise _incomplete(f"{missing}Authorization={given}")
    algorithm = given.partition(" ")[0]
    return _claim(algorithm, fields["Credential"], fields["SignedHeaders"], date, CLOCK_SECONDS), fields["Signature"]


@lru_cache(maxsize=256)
def _usual(before: str, date: str) -> _Claim | None:
    """The claim of an `Authorization` up to its signature; None if it is not all there."""
    fields = _fields(before.rstrip(" ,"))
    if not date or not fields.keys() >= {"Credential", "SignedHeaders"}:
        return None
    return _claim(before.partition(" ")[0], fields["Credential"], fields["SignedHeaders"], date, CLOCK_SECONDS)


def _fields(given: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in given.partition(" ")[2].split(","):
        name, equals, value = part.strip(" \t").partition("=")
        if name and not equals:
            raise _incomplete(
                f"'{name}' not a valid key=value pair (missing equal-sign) in Authorization header: '{given}'."
            )
        fields[name] = value
    return fields


def _claim_of_query(pairs: Iterable[tuple[str, str]]) -> tuple[_Claim, str]:
    fields = dict(pairs)
    missing = "".join(
        f"AWS query-string parameters must include '{name}'. " for name in _IN_QUERY if not fields.get(name)
    )
    if missing:
        raise _incomplete(f"{missing}Re-examine the query-string parameters.")
    algorithm, credential, signature, signed, date = (fields[name] for name in _IN_QUERY)
    good = fields.get("X-Amz-Expires", str(CLOCK_SECONDS))
    if not re.fullmatch("[0-9]{1,6}", good) or not 1 <= int(good) <= LONGEST_SECONDS:
        raise _incomplete(f"X-Amz-Expires must be from 1 to {LONGEST_SECONDS} seconds, not '{good}'.")
    return _claim(algorithm, credential, signed, date, int(good)), signature


def _claim(algorithm: str, credential: str, signed: str, date: str, good: int) -> _Claim:
    moment = _moment(date)
    if moment is None:
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )
    return _Claim(algorithm, credential, signed, frozenset(signed.split(";")), date, moment, good)


def _moment(date: str) -> int | None:
    if not _DATE.fullmatch(date):
        return None
    try:
        return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError:  # the 31st of February
        return None


def _check_time(claim: _Claim, now: int) -> None:
    if claim.moment < now - claim.good:
        raise _invalid(
            f"Signature expired: {claim.date} is now earlier than {amz_date(now - claim.good)} "
            f"({amz_date(now)} - {_spelt(claim.good)})"
        )
    if claim.moment > now + CLOCK_SECONDS:
        raise _invalid(
            f"Signature not yet current: {claim.date} is still later than {amz_date(now + CLOCK_SECONDS)} "
            f"({amz_date(now)} + {_spelt(CLOCK_SECONDS)})"
        )


def _spelt(seconds: int) -> str:
    return f"{seconds // 60} min." if seconds % 60 == 0 else f"{seconds} sec."


def _check_names(claim: _Claim, headers: Headers) -> None:
    """What must be signed is."""
    names = claim.names
    if "host" not in names:
        raise _unsigned("Host")
    for header in headers:
        if header[:6] in _AMZ and header.lower() not in names:
            raise _unsigned(header)


def _value(name: str, headers: Headers) -> str:
    """What came under this name, as it is signed."""
    values = headers.getall(name, ())
    if not values:
        raise _invalid(_MISMATCH)
    if len(values) > 1:
        return ",".join([_SPACES.sub(" ", value.strip(" \t")) for value in values])
    (value,) = values
    return _SPACES.sub(" ", value.strip(" \t")) if " " in value or "\t" in value else value


def _path(path: str) -> str:
    """The path without empty and dotted parts, percent-encoded once more than it came: as all services but S3 do."""
    if path == "/":
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    end = "/" if parts and path.endswith("/") else ""
    return quote("/" + "/".join(parts) + end, safe="/~", encoding="utf-8", errors="surrogateescape")


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    """Names and values of a query, decoded. Bytes that are no UTF-8 stay what they are."""
    split = (part.partition("=") for part in query.split("&") if part)
    return tuple((_decoded(name), _decoded(value)) for name, _, value in split)


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _query(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    )


def _encoded(text: str) -> str:
    return quote(text, safe="~", encoding="utf-8", errors="surrogateescape")


def _invalid(message: str) -> DynamoDBError:
    return DynamoDBError("InvalidSignatureException", _shown(message))


def _unsigned(header: str) -> DynamoDBError:
    return _invalid(f"'{header}' must be a 'SignedHeader' in the AWS Authorization.")


def _incomplete(message: str) -> DynamoDBError:
    return DynamoDBError("IncompleteSignatureException", _shown(message))


def _unrecognized(message: str) -> DynamoDBError:
    return DynamoDBError("UnrecognizedClientException", message)


def _shown(message: str) -> str:
    """With the client's bytes that are no text made so: the answer is JSON."""
    return message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
