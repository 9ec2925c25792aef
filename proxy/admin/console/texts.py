"""What each stage means, what a move will do, and how to go back: the sentences that people read before they decide.

Pure words. What may be done is the gate's and the flip's business.
"""

from typing import Final

from proxy.cutover.stages import Stage

STAGE_MEANINGS: Final = {
    Stage.OFF: "DynamoDB alone. Nothing is written to DSQL, nothing is compared.",
    Stage.DUALWRITE: "DynamoDB answers. Each write is carried to DSQL behind the answer; nothing is compared.",
    Stage.SHADOW: "DynamoDB answers. Each write is rehearsed on DSQL, and each read is compared.",
    Stage.LIVE: "DSQL answers. Each write is carried to DynamoDB, and everything is compared.",
    Stage.RAMPDOWN: "DSQL answers. Each write is carried to DynamoDB; nothing is compared.",
    Stage.COMPLETE: "DSQL alone. DynamoDB is not written any more, and there is no way back.",
}

# What a verdict says, and how it is shown: calm, unsure, or alarming. In the order in which a column stacks them.
VERDICTS: Final = {
    "agreed": ("calm", "no difference"),
    "racing": ("quiet", "written while it was compared: says nothing either way"),
    "lagging": ("quiet", "differed, and agreed once the key had settled"),
    "expected": ("quiet", "differs as the configuration declares"),
    "mirror_error": ("unsure", "the mirror failed or was too slow; the client did not notice"),
    "mismatch": ("alarm", "differs and goes on differing"),
    "unrepresentable": ("alarm", "the mapping cannot hold the item without loss"),
}
# What tells something about agreement: a race and a mirror that is down say nothing either way.
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
    "announced": "Told to every process; nothing is held yet",
    "holding": "New writes wait while each process finishes its own",
    "switched": "Committed; each process is taking up the new stage",
}


def scope_name(table: str, item_type: str) -> str:
    """`Book of billio`, or `billio`."""
    return f"{item_type} of {table}" if item_type else table
