"""The CDK app: two stacks, `CrossfadeData` and `CrossfadeProxy`, as the context `crossfade` in cdk.json says."""

from __future__ import annotations

import aws_cdk as cdk

from deploy import alarms, data, service, stream
from deploy.wanted import Wanted


def build(app: cdk.App, wanted: Wanted) -> tuple[cdk.Stack, cdk.Stack]:
    """The stack of what is to stay, and the stack of what is replaced with each release."""
    kept = data.build(app, wanted)
    stack = cdk.Stack(
        app,
        "CrossfadeProxy",
        env=cdk.Environment(account=wanted.account, region=wanted.region),
        description="Crossfade: the proxies, the stream handler and the alarms",
    )
    served = service.build(stack, wanted, kept)
    function = stream.build(stack, wanted, kept)
    alarms.build(stack, wanted, kept, served, function)
    return kept.stack, stack


if __name__ == "__main__":
    app = cdk.App()
    build(app, Wanted.of(app.node.try_get_context("crossfade")))
    app.synth()
