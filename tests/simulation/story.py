"""What happens in one simulation, made from a seed: processes, clients and what they ask, faults, corruption.

A story is data: it can be printed, and it does nothing. Each seed has its own mix, from calm ones, where nothing fails
and every comparison must come out right, to stormy ones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.simulation.line import Outage, Weather

TABLE: Final = "things"
COUNTER: Final = "counter"
_GROUPS: Final = ("g1", "g2")

Request = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A client waits for `pause` seconds and asks; it gives up after `patience` seconds, and then may try again."""

    pause: float
    action: str
    request: Request
    patience: float | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """`process` is the one it talks to."""

    process: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something from outside, at a time."""

    at: float
    what: Literal["kill", "stop", "corrupt", "bypass", "disk_full"]
    process: int = 0
    key: str = ""
    item: dict[str, Any] | None = None
    lasts: float = 0.0


@dataclass(frozen=True, slots=True)
class Story:
    seed: int
    stage: Literal["dualwrite", "shadow"]
    processes: int
    keys: tuple[str, ...]
    clients: tuple[Client, ...]
    events: tuple[Event, ...]
    dynamodb: Weather
    dsql: Weather
    dynamodb_outages: tuple[Outage, ...]
    dsql_outages: tuple[Outage, ...]
    lag: float
    probes: tuple[str, ...]
    alone: bool


DYNAMODB_SETTLE: Final = 4.0
DSQL_SETTLE: Final = 8.0


def tell(seed: int) -> Story:
    """The story of a seed."""
    chance = random.Random(seed)
    processes = chance.choice((1, 1, 1, 2, 2, 2, 3))
    keys = tuple(f"k{n}" for n in range(chance.choice((1, 1, 2, 3))))
    hurry = chance.choice((0.02, 0.02, 0.1, 0.1, 0.5, 2.0))
    length = chance.randint(2, 8)
    clients = tuple(
        Client(chance.randrange(processes), tuple(_steps(chance, keys, hurry, f"{n}", chance.randint(2, length))))
        for n in range(chance.randint(1, 4))
    )
    ends = 0.5 + length * hurry
    stormy = chance.random()
    return Story(
        seed=seed,
        stage=chance.choice(("shadow", "shadow", "shadow", "dualwrite")),
        processes=processes,
        keys=keys,
        clients=clients,
        events=tuple(_events(chance, keys, processes, ends)) if stormy > 0.35 else (),
        dynamodb=_weather(chance, stormy, DYNAMODB_SETTLE),
        dsql=_weather(chance, stormy, DSQL_SETTLE),
        dynamodb_outages=_outages(chance, ends) if stormy > 0.9 else (),
        dsql_outages=_outages(chance, ends) if stormy > 0.7 else (),
        lag=chance.choice((0.0, 0.1, 1.0, 1.0)),
        probes=tuple(chance.choice(("GetItem", "Query", "Scan", "UpdateItem", "TransactGetItems")) for _ in range(2)),
        alone=processes == 1 and chance.random() < 0.5,
    )


def _weather(chance: random.Random, stormy: float, settle: float) -> Weather:
    delay = chance.choice((0.01, 0.05, 0.3, 0.7))
    if stormy < 0.5 or chance.random() < 0.3:
        return Weather(delay, settle)
    most = chance.choice((0.03, 0.1, 0.3))
    shares = [most * chance.random() if chance.random() < 0.5 else 0.0 for _ in range(6)]
    return Weather(delay, settle, *shares)


def _outages(chance: random.Random, ends: float) -> tuple[Outage, ...]:
    begins = chance.uniform(0, ends)
    return (Outage(begins, begins + chance.choice((0.2, 1.0, 5.0)), chance.random() < 0.5),)


def _events(chance: random.Random, keys: tuple[str, ...], processes: int, ends: float) -> list[Event]:
    kinds = [kind for kind in ("kill", "stop", "corrupt", "bypass", "disk_full") if chance.random() < 0.25]
    if "kill" in kinds or "stop" in kinds:
        # While its disk is full a journal is in memory only, and a process that ends then has lost it: it says so.
        kinds = [kind for kind in kinds if kind != "disk_full"]
    events = []
    for kind in kinds:
        for n in range(chance.choice((1, 1, 2))):
            at, key = chance.uniform(0, ends), chance.choice(keys)
            item = _item(chance, key, f"{kind}-{n}") if chance.random() < 0.7 else None
            if item is not None and kind == "corrupt":
                item["group"] = {"S": chance.choice(_GROUPS)}
            lasts = chance.choice((0.0, 0.5, 3.0, 12.0))
            events.append(Event(at, kind, chance.randrange(processes), key, item, lasts))  # type: ignore[arg-type]
    return events


def _item(chance: random.Random, key: str, token: str) -> Request:
    # A group with the character NUL cannot be a column of text: the mapping cannot hold such an item.
    group = "g\x00" if chance.random() < 0.03 else chance.choice(_GROUPS)
    item = {"id": {"S": key}, "token": {"S": token}, "group": {"S": group}, "at": {"N": str(chance.randint(1, 3))}}
    if chance.random() < 0.5:
        item["n"] = {"N": str(chance.randint(0, 9))}
    return item


def _steps(chance: random.Random, keys: tuple[str, ...], hurry: float, who: str, number: int) -> list[Step]:
    steps = []
    for n in range(number):
        action, request = _ask(chance, keys, f"c{who}.{n}")
        pause = hurry * chance.random() * chance.choice((0.1, 1.0, 1.0))
        patience = chance.uniform(0.001, 0.4) if chance.random() < 0.1 else None
        steps.append(Step(pause, action, request, patience, chance.choice((0, 0, 2))))
        if action in ("PutItem", "UpdateItem", "DeleteItem") and chance.random() < 0.3:
            # Reading back what one has written: when it has converged, an eventual read may still be old.
            named = request.get("Key") or request["Item"]
            steps.append(Step(chance.uniform(0.05, 0.6), "GetItem", _get(named["id"]["S"], strong=False)))
    return steps


def _ask(chance: random.Random, keys: tuple[str, ...], token: str) -> tuple[str, Request]:
    key = chance.choice(keys)
    drawn = chance.random()
    if drawn < 0.4:
        return _write(chance, keys, key, token)
    if drawn < 0.5:
        return add_one(COUNTER, token)
    if drawn < 0.75:
        return "GetItem", _get(chance.choice((*keys, COUNTER)), strong=chance.random() < 0.5)
    return _page(chance, keys)


def _write(chance: random.Random, keys: tuple[str, ...], key: str, token: str) -> tuple[str, Request]:
    drawn = chance.random()
    table: Request = {"TableName": TABLE}
    if drawn < 0.35:
        request = {**table, "Item": _item(chance, key, token)}
        if chance.random() < 0.3:
            request["ConditionExpression"] = chance.choice(("attribute_not_exists(id)", "attribute_exists(id)"))
        if chance.random() < 0.3:
            request["ReturnValues"] = "ALL_OLD"
        return "PutItem", request
    if drawn < 0.65:
        return _update(chance, key, token)
    if drawn < 0.8:
        request = {**table, "Key": {"id": {"S": key}}}
        if chance.random() < 0.3:
            request |= {"ReturnValues": "ALL_OLD"}
        return "DeleteItem", request
    if drawn < 0.9:
        puts = [{"PutRequest": {"Item": _item(chance, each, token)}} for each in keys]
        return "BatchWriteItem", {"RequestItems": {TABLE: puts}}
    parts = []
    for each in keys:
        _, request = _update(chance, each, token)
        request.pop("ReturnValues", None)
        parts.append({"Update": request})
    return "TransactWriteItems", {"TransactItems": parts}


def _update(chance: random.Random, key: str, token: str) -> tuple[str, Request]:
    request: Request = {
        "TableName": TABLE,
        "Key": {"id": {"S": key}},
        "UpdateExpression": chance.choice(
            ("SET #t = :t", "SET #t = :t ADD n :one", "ADD n :one SET #t = :t REMOVE extra", "SET #t = :t, extra = :t")
        ),
        "ExpressionAttributeNames": {"#t": "token"},
        "ExpressionAttributeValues": {":t": {"S": token}, ":one": {"N": "1"}},
    }
    if ":one" not in request["UpdateExpression"]:
        del request["ExpressionAttributeValues"][":one"]
    if chance.random() < 0.3:
        request["ConditionExpression"] = "attribute_exists(id)"
    if chance.random() < 0.4:
        request["ReturnValues"] = chance.choice(("ALL_NEW", "ALL_OLD", "UPDATED_NEW"))
    return "UpdateItem", request


def add_one(key: str, token: str) -> tuple[str, Request]:
    """Counting, whose every effect can be told from the sum."""
    return "UpdateItem", {
        "TableName": TABLE,
        "Key": {"id": {"S": key}},
        "UpdateExpression": "ADD n :one SET #t = :t",
        "ExpressionAttributeNames": {"#t": "token"},
        "ExpressionAttributeValues": {":t": {"S": token}, ":one": {"N": "1"}},
    }


def _get(key: str, *, strong: bool) -> Request:
    return {"TableName": TABLE, "Key": {"id": {"S": key}}, "ConsistentRead": strong}


def _page(chance: random.Random, keys: tuple[str, ...]) -> tuple[str, Request]:
    drawn = chance.random()
    if drawn < 0.6:
        request = query(chance.choice(_GROUPS))
        if chance.random() < 0.3:
            request["Limit"] = chance.randint(1, 2)
        if chance.random() < 0.2:
            request["ScanIndexForward"] = False
        return "Query", request
    if drawn < 0.8:
        return "Scan", {"TableName": TABLE} | ({"Limit": 2} if chance.random() < 0.3 else {})
    if drawn < 0.9:
        wanted = {"Keys": [{"id": {"S": key}} for key in keys], "ConsistentRead": chance.random() < 0.5}
        return "BatchGetItem", {"RequestItems": {TABLE: wanted}}
    return "TransactGetItems", transact_get(keys)


def query(group: str) -> Request:
    """All of a group, by the index, whose reads are always eventual."""
    return {
        "TableName": TABLE,
        "IndexName": "by-group",
        "KeyConditionExpression": "#g = :g",
        "ExpressionAttributeNames": {"#g": "group"},
        "ExpressionAttributeValues": {":g": {"S": group}},
    }


def transact_get(keys: tuple[str, ...]) -> Request:
    return {"TransactItems": [{"Get": {"TableName": TABLE, "Key": {"id": {"S": key}}}} for key in keys]}
