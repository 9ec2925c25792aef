"""Whether a request was signed: by botocore's signatures, by AWS's published vectors, and by every way to spoil one."""

import datetime
from dataclasses import replace
from hashlib import sha256

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.dynamodb.errors import DynamoDBError
from proxy.stores.dynamodb.sigv4 import Credential, SigningKey, amz_date, signing_key
from proxy.wire import signatures as module
from proxy.wire.signatures import Signatures
from tests.unit.signing import BODY, HOST, KEY, NOW, OTHER_KEY, Sent, check, signed, verdict

MISMATCH = "InvalidSignatureException: The request signature we calculated does not match the signature you provided."
TODAY = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
DAY = TODAY.strftime("%Y%m%d")


def stamp(seconds: float) -> str:
    return amz_date(int(NOW + seconds))


# -- what passes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("presigned", [None, 60])
@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("target", ["/", "/a/path", "/?x=1&b=&a=%20&a=1", "/a b/../c//d?y=z"])
@pytest.mark.parametrize("body", [b"", BODY, bytes(range(256)) * 300])
def test_what_botocore_signs_passes(target: str, body: bytes, key: Credential, presigned: int | None) -> None:
    target = target.replace(" ", "%20")
    assert verdict(signed(target=target, body=body, key=key, presigned=presigned)) is None


def test_headers_are_taken_in_any_case_and_order_and_with_any_spaces() -> None:
    sent = signed(headers={"X-Amz-Meta": "a  b   c", "Accept": "x"}).changed("X-Amz-Meta", " a b\t \tc ")
    shuffled = tuple((name.upper(), value) for name, value in reversed(sent.headers))
    assert verdict(replace(sent, headers=shuffled)) is None


def test_what_is_not_signed_may_change() -> None:
    """As a load balancer does."""
    sent = signed().plus("X-Forwarded-For", "10.0.0.1").plus("X-Amzn-Trace-Id", "Root=1").plus("Via", "1.1 here")
    assert verdict(sent) is None


def test_a_signature_without_spaces_between_its_parts_passes() -> None:
    sent = signed()
    assert verdict(sent.in_authorization(", ", ",")) is None


def test_the_parts_of_a_signature_come_in_any_order() -> None:
    sent = signed()
    algorithm, *parts = sent.value("Authorization").replace(",", "").split()
    for order in (parts[::-1], parts[1:] + parts[:1]):
        assert verdict(sent.changed("Authorization", f"{algorithm} {', '.join(order)}")) is None


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_clock_may_be_five_minutes_out(seconds: int) -> None:
    assert verdict(signed(at=NOW + seconds)) is None


def test_the_hash_of_the_body_may_be_a_header_too() -> None:
    """AWS SDK for JavaScript 3 and Go sign it in `x-amz-content-sha256`."""
    digest = sha256(BODY).hexdigest()
    assert verdict(signed(headers={"X-Amz-Content-SHA256": digest})) is None


def test_the_date_may_come_as_date() -> None:
    """«Create a signed AWS API request»: x-amz-date, or date."""
    date, scope = stamp(0), f"{DAY}/us-east-1/dynamodb/aws4_request"
    canonical = f"POST\n/\n\ndate:{date}\nhost:{HOST}\n\ndate;host\n{sha256(b'').hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    signature = signing_key(KEY.secret_access_key, DAY, "us-east-1", "dynamodb").sign(text.encode())
    given = f"AWS4-HMAC-SHA256 Credential={KEY.access_key_id}/{scope}, SignedHeaders=date;host, Signature={signature}"
    assert verdict(Sent(headers=(("Host", HOST), ("Date", date), ("Authorization", given)), body=b"")) is None


# «Signature Version 4 test suite» (AWS General Reference, since withdrawn; in aws-c-auth): its service is "service".
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request"
    "&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature="
)
PARAMETERS = "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1"
FORM = (
    ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
    ("Content-Length", "13"),
    ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
)
Vector = tuple[str, str, tuple[tuple[str, str], ...], bytes, str]
SUITE: dict[str, Vector] = {
    "get-vanilla": ("GET", "/", (), b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": ("POST", "/", (), b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-header-key-duplicate": (
        "GET",
        "/",
        (("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")),
        b"",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-trim": (
        "GET",
        "/",
        (("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')),
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-vanilla-query-order-encoded": (
        "GET",
        PARAMETERS,
        (),
        b"",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    "get-vanilla-query-unreserved": (
        "GET",
        f"/?{UNRESERVED}={UNRESERVED}",
        (),
        b"",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-utf8": ("GET", "/ሴ", (), b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-space-normalized": (
        "GET",
        "/example space/",
        (),
        b"",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "get-relative-relative-normalized": (
        "GET",
        "/example1/example2/../..",
        (),
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-x-www-form-urlencoded-parameters": (
        "POST",
        "/",
        FORM,
        b"Param1=value1",
        "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    ),
    "get-vanilla-query-order-encoded, presigned": (
        "GET",
        f"{PARAMETERS}&{PRESIGNED}",
        (),
        b"",
        "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787",
    ),
    "get-slashes-normalized, presigned": (
        "GET",
        f"//example//?{PRESIGNED}",
        (),
        b"",
        "c1834e8fb0307243711f0f907f6ab7311ed300d87f13792d7ee4da89ab93e082",
    ),
}


@pytest.mark.parametrize("name", SUITE)
def test_the_published_suite(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVICE", "service")
    method, target, extra, body, signature = SUITE[name]
    headers = CIMultiDict([("Host", "example.amazonaws.com"), *extra])
    if target.endswith("="):
        target += signature
    else:
        headers["X-Amz-Date"] = "20150830T123600Z"
        names = ";".join(sorted({each.lower() for each in headers}))
        scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
        given = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"
        headers["Authorization"] = given
    claimed = Signatures([KEY], "us-east-1").claim(method, target, headers, 1440938160)
    claimed.check(body)
    with pytest.raises(DynamoDBError, match="InvalidSignatureException"):
        claimed.check(body + b"x")


# -- what is refused, and in which words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            Sent(headers=(("Host", HOST),)),
            "MissingAuthenticationTokenException: Request is missing Authentication Token",
        ),
        (signed().changed("Authorization", "Basic eDp5"), "MissingAuthenticationTokenException: Request is missing"),
        (signed().changed("Authorization", ""), "MissingAuthenticationTokenException: Request is missing"),
        (
            replace(signed(), target=signed(presigned=60).target),
            "InvalidSignatureException: Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as",
        ),
        (
            signed().changed("Authorization", "AWS4-"),
            (
                "IncompleteSignatureException: Authorization header requires 'Credential' parameter. Authorization "
                "header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. "
                "Authorization=AWS4-"
            ),
        ),
        (
            signed().changed("Authorization", "AWS4-HMAC-SHA256 Credential=a, Signature"),
            "IncompleteSignatureException: 'Signature' not a valid key=value pair (missing equal-sign)",
        ),
        (
            signed().without("X-Amz-Date"),
            "IncompleteSignatureException: Authorization header requires existence of either a 'X-Amz-Date' or",
        ),
        (
            signed().changed("X-Amz-Date", "2026-09-21"),
            "IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got '2026-09-21'. See ",
        ),
        (signed().changed("X-Amz-Date", "20260231T000000Z"), "IncompleteSignatureException: Date must be in ISO-8601"),
        (
            signed(at=NOW - 301),
            (
                f"InvalidSignatureException: Signature expired: {stamp(-301)} is now earlier than {stamp(-300)} "
                f"({stamp(0)} - 5 min.)"
            ),
        ),
        (
            signed(at=NOW + 301),
            (
                f"InvalidSignatureException: Signature not yet current: {stamp(301)} is still later than {stamp(300)} "
                f"({stamp(0)} + 5 min.)"
            ),
        ),
        (
            signed().in_authorization("host;", ""),
            "InvalidSignatureException: 'Host' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            signed().in_authorization(";x-amz-target", ""),
            "InvalidSignatureException: 'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            signed().plus("x-AMZ-other", "1"),
            "InvalidSignatureException: 'x-AMZ-other' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            signed().in_authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA25"),
            "IncompleteSignatureException: Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256",
        ),
        (
            signed().in_authorization("/aws4_request", ""),
            (
                "IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. "
                f"keyid/date/region/service/term, got 'AKIDEXAMPLE/{DAY}/us-east-1/dynamodb'"
            ),
        ),
        (
            signed(region="eu-west-1", service="s3"),
            (
                "InvalidSignatureException: Credential should be scoped to a valid region, not 'eu-west-1'. Credential "
                "should be scoped to correct service: 'dynamodb'. "
            ),
        ),
        (
            signed().in_authorization("aws4_request", "aws5_request"),
            (
                "InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not "
                "'aws5_request'. "
            ),
        ),
        (
            signed().in_authorization(DAY, "20200101"),
            (
                "InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
                f"date from HTTP: '20200101' != '{DAY}', from '{stamp(0)}'. "
            ),
        ),
        (
            signed(key=Credential("AKIDNOBODY", KEY.secret_access_key)),
            "UnrecognizedClientException: The security token included in the request is invalid.",
        ),
        (
            signed(key=Credential(KEY.access_key_id, KEY.secret_access_key, "a-token")),
            "UnrecognizedClientException: The security token included in the request is invalid",
        ),
        (
            signed(key=Credential(KEY.access_key_id, KEY.secret_access_key, "a-token"), presigned=60),
            "UnrecognizedClientException: The security token included in the request is invalid",
        ),
        (signed(key=Credential(KEY.access_key_id, OTHER_KEY.secret_access_key)), MISMATCH),
        (signed().without("Content-Type"), MISMATCH),
        (signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}), MISMATCH),
        (replace(signed(), method="PUT"), MISMATCH),
        (replace(signed(), target="/x"), MISMATCH),
        (replace(signed(), target="/?"), None),
        (replace(signed(), target="/?a"), MISMATCH),
        (replace(signed(), target="http://127.0.0.1:8000/"), MISMATCH),
        (replace(signed(), target="*"), MISMATCH),
        (replace(signed(), body=BODY + b" "), MISMATCH),
        (signed().changed("Host", "127.0.0.1:8001"), MISMATCH),
        (signed().changed("X-Amz-Target", "DynamoDB_20120810.DeleteItem"), MISMATCH),
        (signed().plus("X-Amz-Target", "DynamoDB_20120810.DeleteItem"), MISMATCH),
        (signed().changed("X-Amz-Date", stamp(1)), MISMATCH),
        (signed(presigned=60).plus("Authorization", ""), "InvalidSignatureException: Found both"),
        (signed(presigned=60).plus("X-Amz-Date", stamp(0)), "InvalidSignatureException: 'X-Amz-Date' must be a"),
        (replace(signed(presigned=60), now=NOW + 61), "(20260921T141421Z - 1 min.)"),
        (replace(signed(presigned=7), now=NOW + 8), "(20260921T141328Z - 7 sec.)"),
        (signed(presigned=604801), "IncompleteSignatureException: X-Amz-Expires must be from 1 to 604800 seconds"),
        (signed(presigned=0), "IncompleteSignatureException: X-Amz-Expires"),
        (
            replace(signed(), target="/?X-Amz-Algorithm=AWS4-HMAC-SHA256").without("Authorization"),
            (
                "IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Credential'. AWS "
                "query-string parameters must include 'X-Amz-Signature'. "
            ),
        ),
    ],
)
def test_what_is_refused_and_how(sent: Sent, said: str | None) -> None:
    found = verdict(sent)
    assert (found is None) == (said is None)
    assert said is None or found is None or said in found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Date=2026", "X-Amz-Date=2025"),
        ("X-Amz-Expires=60", "X-Amz-Expires=61"),
        ("us-east-1", "us-east-2"),
        ("SignedHeaders=content-type%3Bhost", "SignedHeaders=host"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("?", "?more=1&"),
    ],
)
def test_a_presigned_query_that_was_changed_is_refused(old: str, new: str) -> None:
    sent = signed(presigned=60)
    assert verdict(sent) is None
    assert old in sent.target
    assert verdict(replace(sent, target=sent.target.replace(old, new, 1))) is not None


def test_a_key_of_yesterday_does_not_sign_today() -> None:
    """The date is in the scope, in the text that is signed, and in the key."""
    midnight = TODAY.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    before = replace(signed(at=midnight - 1), now=midnight + 1)
    assert verdict(before) is None  # within five minutes
    assert verdict(replace(signed(at=midnight + 1), now=midnight + 1)) is None
    assert verdict(before.changed("X-Amz-Date", amz_date(int(midnight)))) is not None


def test_the_same_claim_again_with_another_signature_is_refused() -> None:
    """What is kept of a claim that was in order says nothing of the next signature."""
    keep = Signatures([KEY], "us-east-1")
    sent = signed()
    for _ in range(2):
        check(keep, sent)
    for spoilt in (replace(sent, body=b"{}"), replace(sent, now=NOW + 301), sent.changed("Host", "elsewhere")):
        with pytest.raises(DynamoDBError, match="InvalidSignatureException"):
            check(keep, spoilt)


# -- anything at all ---------------------------------------------------------------------------------------------------

SUBSTITUTES = st.characters(min_codepoint=33, max_codepoint=126)


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from([None, 60]))
def test_no_byte_of_what_is_signed_can_be_changed(data: st.DataObject, presigned: int | None) -> None:
    sent = signed(target="/some/path?name=value&other", presigned=presigned)
    assert verdict(sent) is None
    part = data.draw(st.sampled_from(["method", "target", "body", *(name for name, _ in sent.headers)]))
    if part == "body":
        at = data.draw(st.integers(0, len(sent.body) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != sent.body[at]))
        spoilt = replace(sent, body=sent.body[:at] + bytes([byte]) + sent.body[at + 1 :])
    else:
        whole = getattr(sent, part) if part in ("method", "target") else sent.value(part)
        at = data.draw(st.integers(0, len(whole) - 1))
        # Separators of the header itself have no meaning: "," and "=" and what parts them.
        assume(part != "Authorization" or whole[at] not in " ,")
        other = whole[:at] + data.draw(SUBSTITUTES.filter(lambda letter: letter != whole[at])) + whole[at + 1 :]
        assume(part != "target" or meaning(other) != meaning(whole))
        match part:
            case "method":
                spoilt = replace(sent, method=other)
            case "target":
                spoilt = replace(sent, target=other)
            case _:
                spoilt = sent.changed(part, other)
    found = verdict(spoilt)
    assert found is not None
    orjson.dumps(found)


def meaning(target: str) -> object:
    """A percent sign's digits have no case, and `a=` is `a`."""
    path, mark, query = target.partition("?")
    return path, mark, sorted(module._pairs(query))


ODD = st.sampled_from(
    [
        *("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-", "AWS4-ECDSA-P256-SHA256 ", ",,,,=", "Signature=", "\udcff"),
        *("Credential=", "AKIDEXAMPLE", f"/{DAY}/us-east-1/dynamodb/aws4_request", "SignedHeaders=", "host;x-amz-date"),
        *(", ", ",", "=", "/", ";", "ß", "\u2028", "0" * 64, "f" * 64, "%", "%zz", "&", "\x00", "\x7f", "x" * 5000),
    ]
)
TEXT = st.lists(ODD | st.text(max_size=6), max_size=8).map("".join)
NAMES = st.sampled_from(
    ["Authorization", "Host", "X-Amz-Date", "Date", "X-Amz-Target", "X-Amz-Security-Token", "X-Amz-Content-SHA256", "X"]
)
QUERY = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "X-Amz-Algorithm",
                "X-Amz-Credential",
                "X-Amz-Signature",
                "X-Amz-SignedHeaders",
                "X-Amz-Date",
                "X-Amz-Expires",
            ]
        )
        | TEXT,
        TEXT | st.sampled_from([stamp(0), "AWS4-HMAC-SHA256", "60", "host", f"AKIDEXAMPLE/{DAY}/us-east-1/dynamodb/x"]),
    ),
    max_size=8,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["GET", "POST", ""]) | TEXT,
    TEXT,
    QUERY,
    st.lists(st.tuples(NAMES, TEXT | st.just(stamp(0)) | st.just(signed().value("Authorization"))), max_size=6),
    st.binary(max_size=50),
)
def test_nothing_made_up_passes_and_nothing_breaks_it(
    method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    target = f"{path}?{query}".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    found = verdict(Sent(method, target, tuple(headers), body))
    assert found is not None
    orjson.dumps(found)


def test_no_message_tells_a_secret() -> None:
    for sent in (signed(region="x"), replace(signed(), body=b""), signed().changed("Authorization", "AWS4-x")):
        assert KEY.secret_access_key not in str(verdict(sent))
    assert KEY.secret_access_key not in repr(Signatures([KEY], "us-east-1"))
    assert isinstance(signing_key(KEY.secret_access_key, DAY, "us-east-1", "dynamodb"), SigningKey)
