"""The signer: equal to AWS's published vectors, and to botocore on anything the upstream connection can send."""

import datetime
from unittest import mock

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.stores.dynamodb.sigv4 import Credential, amz_date, sign

EXAMPLE = Credential("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MOMENT = 1440938160  # 2015-08-30T12:36:00Z, the suite's


def suite(method: str, headers: dict[str, str], body: bytes = b"") -> str:
    date = amz_date(MOMENT)
    return sign(
        method,
        "/",
        sorted({"host": "example.amazonaws.com", "x-amz-date": date, **headers}.items()),
        body,
        credential=EXAMPLE,
        region="us-east-1",
        service="service",
        date=date,
    )


def expected(names: str, signature: str) -> str:
    scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


def test_get_vanilla_of_the_published_suite() -> None:
    signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    assert suite("GET", {}) == expected("host;x-amz-date", signature)


def test_post_vanilla_of_the_published_suite() -> None:
    signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    assert suite("POST", {}) == expected("host;x-amz-date", signature)


def test_get_header_key_duplicate_of_the_published_suite() -> None:
    signature = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"
    headers = {"my-header1": "value2,value2,value1"}
    assert suite("GET", headers) == expected("host;my-header1;x-amz-date", signature)


def test_the_secret_is_not_in_a_repr() -> None:
    assert "wJalr" not in repr(EXAMPLE)
    assert "tok" not in repr(Credential("A", "B", "tok"))


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)


@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=400),
    access_key=st.text("ABCDEFGHIJ0123456789", min_size=4, max_size=20),
    secret=SECRET,
    token=st.none() | TEXT,
    extra=st.dictionaries(st.sampled_from(["x-amz-user-agent", "x-amz-meta", "content-type"]), TEXT),
    target=st.sampled_from(["DynamoDB_20120810.GetItem", "DynamoDBStreams_20120810.ListStreams"]),
    host=st.sampled_from(["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1:4566"]),
    second=st.integers(0, 4_000_000_000),
)
def test_it_signs_as_botocore_does(
    body: bytes,
    access_key: str,
    secret: str,
    token: str | None,
    extra: dict[str, str],
    target: str,
    host: str,
    second: int,
) -> None:
    headers = {"x-amz-target": target, **extra}
    request = AWSRequest(method="POST", url=f"https://{host}/", data=body, headers=dict(headers))
    moment = datetime.datetime.fromtimestamp(second, datetime.UTC).replace(tzinfo=None)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        auth.SigV4Auth(Credentials(access_key, secret, token), "dynamodb", "eu-west-1").add_auth(request)

    date = amz_date(second)
    signed = {**headers, "host": host, "x-amz-date": date}
    if token is not None:
        signed["x-amz-security-token"] = token
    ours = sign(
        "POST",
        "/",
        sorted(signed.items()),
        body,
        credential=Credential(access_key, secret, token),
        region="eu-west-1",
        service="dynamodb",
        date=date,
    )
    assert ours == request.headers["Authorization"]
    assert date == request.headers["X-Amz-Date"]


def test_a_new_day_has_a_new_key() -> None:
    dates = [amz_date(MOMENT + 86400 * day) for day in range(3)]
    signatures = {
        sign("POST", "/", [("host", "h")], b"", credential=EXAMPLE, region="r", service="s", date=date)[-64:]
        for date in dates
    }
    assert [date[:8] for date in dates] == ["20150830", "20150831", "20150901"]
    assert len(signatures) == 3
