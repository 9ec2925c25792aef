"""The console's fixed texts: the meanings of stages, verdicts, kinds of difference and phases."""

from typing import Final

from proxy.cutover.stages import Stage

STAGE_MEANINGS: Final = {
    Stage.OFF: "DynamoDB alone. Nothing is written to DSQL, nothing is compared.",
    Stage.DUALWRITE: "DynamoDB answers. Each write is copied to DSQL behind the answer; nothing is compared.",
    Stage.SHADOW: "DynamoDB answers. Each write is rehearsed on DSQL, and each read is compared.",
    Stage.LIVE: "DSQL answers. Each write is copied to DynamoDB, and everything is compared.",
    Stage.RAMPDOWN: "DSQL answers. Each write is copied to DynamoDB; nothing is compared.",
    Stage.COMPLETE: "DSQL alone. DynamoDB gets no more writes, and there is no way back.",
}

# The tone and meaning of each verdict, in the order in which a column stacks them.
VERDICTS: Final = {
    "agreed": ("calm", "no difference"),
    "racing": ("quiet", "written while it was compared: proves nothing either way"),
    "lagging": ("quiet", "differed, and agreed once the key had settled"),
    "expected": ("quiet", "differs as the configuration declares"),
    "undecided": ("unsure", "differed, and the authority did not answer the second look"),
    "mirror_error": ("unsure", "the mirror failed or was too slow; the client did not notice"),
    "mismatch": ("alarm", "differs and goes on differing"),
    "unrepresentable": ("alarm", "the mapping cannot hold the item without loss"),
}
# The verdicts that prove something about agreement: a race and a mirror that is down prove nothing either way.
CONCLUSIVE: Final = frozenset({"agreed", "lagging", "expected", "mismatch", "unrepresentable"})
ALARMING: Final = frozenset(verdict for verdict, (tone, _) in VERDICTS.items() if tone == "alarm")

KINDS: Final = {
    "missing": "the mirror lacks it",
    "extra": "only the mirror has it",
    "type": "another type",
    "value": "another value",
    "precision": "digits lost",
    "spelling": "spelt otherwise",
    "order": "another order",
    "membership": "other members",
    "count": "another count",
    "cursor": "another cursor",
    "error_code": "another error",
    "error_message": "another message",
    "outcome": "one answered, one failed",
}

PHASES: Final = {
    "announced": "Announced to every process; no writes are held yet",
    "holding": "New writes wait while each process finishes its own",
    "switched": "Committed; each process is taking up the new stage",
}


def scope_name(table: str, item_type: str) -> str:
    """`Book of billio`, or `billio`."""
    return f"{item_type} of {table}" if item_type else table
