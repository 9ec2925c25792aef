"""The proxy's credentials: from AWS's chain, renewed behind the requests, and a clear word where there are none."""

import asyncio
from pathlib import Path

import aioboto3
import pytest
from botocore.exceptions import BotoCoreError

from proxy.settings import load
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.errors import CredentialsError


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment in which the chain finds nothing, and asks no instance."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


async def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    credentials = await Credentials.from_chain(aioboto3.Session())
    assert credentials.current == Credential("AKID", "secret", "token")


async def test_none_found_says_what_to_do() -> None:
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID") as caught:
        await Credentials.from_chain(aioboto3.Session())
    assert "access_key_id and secret_access_key in [dynamodb]" in str(caught.value)


async def test_a_profile_that_is_not_there_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(SettingsError, match=r"\(absent\).*AWS_PROFILE"):
        async with open_upstream(load(None, {"CROSSFADE_DYNAMODB__REGION": "eu-west-1"}), {}):
            pass


async def test_they_are_renewed_behind_the_requests_and_a_failure_keeps_the_old() -> None:
    fetched: list[int] = []

    async def fetch() -> Credential:
        fetched.append(1)
        if len(fetched) == 2:
            raise BotoCoreError
        return Credential(f"KEY{len(fetched)}", "secret")

    credentials = Credentials(Credential("KEY0", "secret"), fetch)
    task = asyncio.ensure_future(credentials.keep_fresh(every=0.01))
    seen: list[str] = []
    while len(fetched) < 3 or credentials.current.access_key_id == seen[-1]:
        seen.append(credentials.current.access_key_id)
        await asyncio.sleep(0.002)
    task.cancel()
    assert set(seen) <= {"KEY0", "KEY1", "KEY3"}
    assert {"KEY0", "KEY1"} <= set(seen)


async def test_what_does_not_expire_is_not_asked_for_again() -> None:
    await asyncio.wait_for(Credentials(Credential("A", "B")).keep_fresh(every=0.0), 60)


async def test_aws_s_own_endpoints_are_found_for_the_region() -> None:
    settings = load(
        None,
        {
            "CROSSFADE_DYNAMODB__REGION": "cn-north-1",
            "CROSSFADE_DYNAMODB__ACCESS_KEY_ID": "A",
            "CROSSFADE_DYNAMODB__SECRET_ACCESS_KEY": "B",
        },
    )
    async with open_upstream(settings, {}) as upstream:
        assert upstream.endpoints == (
            "dynamodb.cn-north-1.amazonaws.com.cn",
            "streams.dynamodb.cn-north-1.amazonaws.com.cn",
        )


async def test_no_region_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match="CROSSFADE_DYNAMODB__REGION"):
        async with open_upstream(load(None, {}), {}):
            pass


async def test_the_proxy_does_not_call_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:8000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B")
    with pytest.raises(SettingsError, match="own data port"):
        async with open_upstream(load(None, {"CROSSFADE_DYNAMODB__REGION": "eu-west-1"}), {}):
            pass
