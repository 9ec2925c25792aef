"""The headline: the state of the cutover in one sentence. What matters most is decided here and nowhere else.

Pure. An engineer who is called at 3 a.m. reads this first: the gravest problem comes first, and the others follow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy import formatting as words
from proxy.admin.console import charts
from proxy.admin.console.mismatches import MismatchView
from proxy.cutover.explanations import STORES
from proxy.cutover.model import StagesView
from proxy.cutover.stages import Stage

# A key that waits for longer than this needs an explanation; the gate has its own limit, which operators set.
OLD_SECONDS: Final = 30.0
RECENT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Headline:
    """The state in one sentence, its tone (`calm`, `unsure`, `alarm`, `quiet`), and further sentences."""

    tone: str
    text: str
    more: tuple[str, ...] = ()


def headline(
    status: Mapping[str, Any],
    overview: StagesView,
    mismatches: Sequence[MismatchView],
    agreement: charts.Agreement,
    problems: Sequence[str],
    unread: str,
    now: float,
) -> Headline:
    """The gravest problem first, then the others. `unread` is why the stage table cannot be read."""
    said: list[tuple[str, str]] = [("alarm", words.sentence(problem)) for problem in problems]
    recent = [each for each in mismatches if now - each.at < RECENT_SECONDS]
    if recent:
        said.append(("alarm", f"The stores disagree on {_where(recent)}."))
    elif now - agreement.alarmed_at < RECENT_SECONDS:
        said.append(("alarm", "The stores disagree."))
    elif agreement.alarming:
        said.append(("unsure", f"The stores last disagreed {words.ago(agreement.alarmed_at, now)}."))
    if status["journal"]["parked"]:
        said.append(("alarm", "Items wait that the mapping cannot hold."))
    if alone := open_breakers(status["breaker"]):
        who = " and ".join(alone)
        said.append(("unsure", f"{who} fails as the mirror and is left alone; writes for it wait in the journal."))
    elif status["journal"]["keys"] and status["journal"]["oldest_seconds"] > OLD_SECONDS:
        said.append(("unsure", "The journal is behind: the mirror is slow or refuses some keys."))
    if unread:
        said.append(("unsure", f"The stage table cannot be read, so what is said of stages is old: {unread}."))
    stages = {place.stage for place in overview.scopes}
    compared = any(stage.compared for stage in stages)
    if compared and not agreement.all:
        said.append(("unsure", "Nothing has been compared in the time shown: no traffic comes through here."))
    if said:
        order = {"alarm": 0, "unsure": 1}
        said.sort(key=lambda each: order[each[0]])
        return Headline(said[0][0], said[0][1], tuple(text for _, text in said[1:]))
    if compared:
        apart = sorted({place.scope.table for place in overview.scopes if not place.stage.compared})
        if not apart:
            return Headline("calm", "The two stores agree.")
        # Comparisons prove nothing about a table that is not compared: the sentence must not cover it.
        return Headline("calm", "Where they are compared, the two stores agree.", (_uncompared(apart),))
    if not overview.scopes:
        return Headline("quiet", "No table has been used yet.")
    if stages == {Stage.OFF}:
        return Headline("quiet", "Everything is off: clients talk to DynamoDB alone.")
    if stages == {Stage.COMPLETE}:
        return Headline("calm", "The cutover is complete: clients talk to DSQL alone.")
    return Headline("quiet", "Writes go to both stores; nothing is compared.")


def open_breakers(breakers: Mapping[str, str]) -> list[str]:
    """The names of the stores whose circuit breakers are not closed."""
    return [STORES.get(name, name) for name, state in breakers.items() if state != "closed"]


def _uncompared(tables: Sequence[str]) -> str:
    names = ", ".join(tables[:3]) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")
    return f"Nothing is compared now, of all or some types, in {names}."


def _where(mismatches: Iterable[MismatchView]) -> str:
    """`Book and TvSeason of billio`: the types of the table with the most of them."""
    tables: dict[str, list[str]] = {}
    for each in mismatches:
        types = tables.setdefault(each.table, [])
        if each.item_type not in types:
            types.append(each.item_type)
    table, types = max(tables.items(), key=lambda each: len(each[1]))
    return f"{' and '.join(types)} of {table}" if 0 < len(types) < 4 and all(types) else table
