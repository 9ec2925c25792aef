"""What is to be deployed, as `cdk.json` says it in its context `crossfade`. Knows no CDK."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

_BRANCH: Final = re.compile(r"[\w./-]+")
_REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class WrongContext(Exception):
    """The context cannot be deployed; the text names the setting and the remedy."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`table` is the DynamoDB table that is there, `repository` the GitHub repository (owner/name) whose `branch` may
    migrate, `client_keys` the ids of the access keys that applications sign with; their secrets stand in the secret
    `secret_name`. `vpc_id`, `availability_zones` and `private_subnet_ids` name a network that is there; without them
    one is made. `database_role` is the runtime's role in DSQL, `otlp_endpoint` a collector's for traces
    (docs/tracing.md); without it there are none."""

    account: str
    region: str
    table: str
    table_stream_arn: str
    repository: str
    certificate_arn: str
    client_keys: tuple[str, ...]
    branch: str = "main"
    image_tag: str = "latest"
    tasks: int = 2
    cpu: int = 1024
    memory_mib: int = 2048
    stage_table: str = "crossfade_stages"
    secret_name: str = "crossfade/proxy"  # noqa: S105  # its name
    database_role: str = "crossfade"
    mapping: str = "/etc/crossfade/billio.toml"
    client_cidr: str = "10.0.0.0/8"
    vpc_id: str = ""
    availability_zones: tuple[str, ...] = ()
    private_subnet_ids: tuple[str, ...] = ()
    alarm_email: str = ""
    otlp_endpoint: str = ""

    def __post_init__(self) -> None:
        # A pattern in either would let other branches, or other repositories, change the schema.
        for name, value, form in (
            ("repository", self.repository, _REPOSITORY),
            ("branch", self.branch, _BRANCH),
        ):
            if not form.fullmatch(value):
                raise WrongContext(f"crossfade.{name}: {value!r} must be one {name}, without patterns")
        if not self.client_keys or not all(_KEY.fullmatch(each) for each in self.client_keys):
            raise WrongContext("crossfade.client_keys: name at least one key, of letters, digits, '_' and '-'")
        if not self.table_stream_arn.startswith(f"{self.table_arn}/stream/"):
            raise WrongContext(f"crossfade.table_stream_arn: this is not a stream of {self.table_arn}")
        if bool(self.vpc_id) != bool(self.private_subnet_ids) or len(self.availability_zones) != len(
            self.private_subnet_ids
        ):
            raise WrongContext(
                "crossfade.vpc_id: a network that is there needs vpc_id, private_subnet_ids and availability_zones, "
                "one zone for each subnet"
            )
        if self.tasks < 1:
            raise WrongContext("crossfade.tasks: at least 1, and 2 for availability")

    @property
    def table_arn(self) -> str:
        return f"arn:aws:dynamodb:{self.region}:{self.account}:table/{self.table}"

    @property
    def stage_table_arn(self) -> str:
        return f"arn:aws:dynamodb:{self.region}:{self.account}:table/{self.stage_table}"

    @property
    def tracing(self) -> dict[str, str]:
        """The proxy's variables for it."""
        if not self.otlp_endpoint:
            return {}
        return {"CROSSFADE_TRACING__ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint}

    @property
    def migrator_subject(self) -> str:
        """The `sub` of the tokens that GitHub gives to jobs of this branch, and to no others ("OpenID Connect
        reference", GitHub docs). A job that names an environment has another one."""
        return f"repo:{self.repository}:ref:refs/heads/{self.branch}"

    @classmethod
    def of(cls, context: Mapping[str, Any] | None) -> Self:
        """Raises WrongContext."""
        if not context:
            raise WrongContext("there is no context `crossfade`: run cdk in deploy/, where cdk.json has an example")
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(context) - known):
            raise WrongContext(f"crossfade: unknown: {', '.join(unknown)}: use {', '.join(sorted(known))}")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in context.items()
        }
        try:
            return cls(**given)
        except TypeError as error:
            raise WrongContext(f"crossfade: {error}") from None
