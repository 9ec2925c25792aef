"""The story: a year in the life of Billio, told by an ordinary AWS client that knows one address and nothing else.

Each chapter is a plain function on a `Narrator`. The narrator notes every answer, so that the same story told to two
endpoints can be compared word by word: it is deterministic but for timing. No chapter knows that a proxy exists.
"""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tests.data import catalogue
from tests.standins.billio import HASH_KEY, INDEXES, dynamodb_client

Item = dict[str, dict[str, Any]]

_SEED = 20261122
_DAY = 86_400_000
_YEAR_END = 1_795_000_000_000
_HOT_WRITERS = 6
_HOT_WRITES = 20
_REACHED_SHELF = {
    "Book": "Read",
    "VideoGame": "Played",
    "Feature": "Watched",
    "TvSeries": "Watched",
    "TvSeason": "Watched",
}
_NEW_IMAGE = {"M": {"url": {"S": "https://images.example/new.jpg"}, "width": {"N": "640"}, "height": {"N": "960"}}}
# What later chapters look up by title must not be given away.
_KEPT = {
    *("Stardew Valley", "Factorio", "Balatro", "The Hobbit", "The Shining", "The Fellowship of the Ring"),
    *("Fargo", "Middlemarch", "Celeste", "Tetris Effect", "1984", "Solaris", "Station Eleven"),
}
_BUSY_SHELF = {
    "Book": "Reading",
    "VideoGame": "Playing",
    "Feature": "Watching",
    "TvSeries": "Watching",
    "TvSeason": "Watching",
}


@dataclass(slots=True)
class Narrator:
    """One telling of the story: the client, the table, what was answered, and the dice.

    `answers` has one entry a call, in order: (operation, answer without its metadata, or {"error": code, …}).
    """

    endpoint: str
    table: str
    client: Any = None
    answers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    items: list[Item] = field(default_factory=catalogue)
    dice: random.Random = field(default_factory=lambda: random.Random(_SEED))
    now: int = _YEAR_END

    def __post_init__(self) -> None:
        self.client = self.client or dynamodb_client(self.endpoint)

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One API call by its client method's name; what AWS refuses is an answer too, as `{"error": code, …}`."""
        self.calls[operation] += 1
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**arguments)
            answer.pop("ResponseMetadata")
        except ClientError as error:
            answer = {"error": error.response["Error"]["Code"]}
            answer |= {name: error.response[name] for name in ("Item", "CancellationReasons") if name in error.response}
        self.answers.append((operation, answer))
        return answer

    def on_table(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The same, on the story's table."""
        return self.call(operation, TableName=self.table, **arguments)

    def pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Every page of a Query or Scan, each asked for with the last one's cursor."""
        cursor: dict[str, Any] = {}
        while True:
            page = self.on_table(operation, **arguments, **cursor)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            cursor = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def of_type(self, kind: str, count: int | None = None) -> list[Item]:
        """The items of a type that the catalogue holds, or `count` of them as the dice fall."""
        found = [item for item in self.items if item["type"]["S"] == kind]
        return found if count is None else self.dice.sample(found, count)

    def titled(self, kind: str, title: str) -> Item:
        """One item by type and title."""
        return next(item for item in self.of_type(kind) if item["title"]["S"] == title)

    def tick(self) -> int:
        """The story's clock: epoch milliseconds, a while later each time."""
        self.now += self.dice.randrange(1000, 3_600_000)
        return self.now


def key(item: Item) -> Item:
    """An item's key."""
    return {HASH_KEY: item[HASH_KEY]}


def filling_the_shelves(story: Narrator) -> None:
    """Everything is created: one by one by the website, in batches by an import, a series with its seasons at once."""
    seasons = story.of_type("TvSeason")
    for series in story.of_type("TvSeries"):
        own = [season for season in seasons if season["seriesId"] == series["id"]]
        story.call(
            "transact_write_items",
            TransactItems=[
                {
                    "Put": {
                        "TableName": story.table,
                        "Item": item,
                        "ConditionExpression": "attribute_not_exists(#key)",
                        "ExpressionAttributeNames": {"#key": HASH_KEY},
                    }
                }
                for item in (series, *own)
            ],
            ClientRequestToken=str(uuid.UUID(int=story.dice.getrandbits(128), version=4)),
        )
    rest = [item for item in story.items if item["type"]["S"] not in ("TvSeries", "TvSeason")]
    for position, item in enumerate(rest):
        if position % 5 < 3:
            _create(story, item)
    imported = [item for position, item in enumerate(rest) if position % 5 >= 3]
    for start in range(0, len(imported), 25):
        requests = [{"PutRequest": {"Item": item}} for item in imported[start : start + 25]]
        while requests:
            answer = story.call("batch_write_item", RequestItems={story.table: requests})
            requests = answer["UnprocessedItems"].get(story.table, [])


def creating_twice(story: Narrator) -> None:
    """What exists must not be created again: conditions fail, and some clients ask for what stood in the way."""
    for kind in _REACHED_SHELF:
        for position, item in enumerate(story.of_type(kind, 6)):
            _create(story, item, **({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if position % 2 else {}))


def rating_and_noting(story: Narrator) -> None:
    """Edits: ratings, notes, hours, images and lists, each a partial update with its own way of returning values."""
    for kind in _REACHED_SHELF:
        for item in story.of_type(kind, 14):
            rating = story.dice.choice(["6", "7.5", "8", "8.5", "9", "9.5", "10"])
            _update(story, item, "SET rating = :r", {":r": {"N": rating}}, returns="ALL_NEW")
        for item in story.of_type(kind, 8):
            note = {"S": f"Second thoughts, noted on day {story.dice.randrange(365)} — “better”."}
            _update(story, item, "SET notes = if_not_exists(notes, :n)", {":n": note}, returns="UPDATED_NEW")
        for item in story.of_type(kind, 6):
            _update(story, item, "REMOVE notes", returns="ALL_OLD")
        # Each step goes round all items before the next, as many people's edits would: what is compared while the
        # same item is written again proves nothing.
        pictured = story.of_type(kind, 6)
        for item in pictured:
            _update(story, item, "SET image = :i", {":i": _NEW_IMAGE}, returns="UPDATED_OLD")
        for item in pictured:
            _update(story, item, "SET image.width = image.width + :w", {":w": {"N": "160"}}, returns="ALL_NEW")
        for item in pictured:
            _update(story, item, "REMOVE image.height", returns="ALL_NEW")
    played = story.of_type("VideoGame", 16)
    for item in played:
        hours = story.dice.choice(["1", "2.5", "0.25", "12"])
        _update(story, item, "ADD hoursPlayed :h", {":h": {"N": hours}}, returns="ALL_NEW")
    for item in played:
        _update(
            story,
            item,
            "SET platforms = list_append(platforms, :p), devices = list_append(:p, devices)",
            {":p": {"L": [{"S": "PC"}]}},
            returns="ALL_NEW",
        )
    for item in played:
        _update(story, item, "SET platforms[0] = :p REMOVE devices[0]", {":p": {"S": "Linux"}}, returns="ALL_NEW")
    tagged = [
        story.titled(*named) for named in (("Book", "Middlemarch"), ("VideoGame", "Hades"), ("Feature", "Stalker"))
    ]
    for item in tagged:
        _update(story, item, "ADD tags :t", {":t": {"SS": ["favourite", "again"]}}, returns="ALL_NEW")
    for item in tagged:
        _update(story, item, "DELETE tags :t", {":t": {"SS": ["again", "never there"]}}, returns="ALL_NEW")
    celeste = story.titled("VideoGame", "Celeste")
    _update(story, celeste, "ADD splits :s", {":s": {"NS": ["3.25", "42"]}}, returns="ALL_NEW")
    for title in ("Piranesi", "Stoner", "Dune"):
        book = story.titled("Book", title)
        _update(
            story, book, "SET author = :a, reread = :t", {":a": {"S": "Anon."}, ":t": {"BOOL": True}}, returns="ALL_NEW"
        )


def failing_conditions(story: Narrator) -> None:
    """Optimistic clients: conditions on ratings, shelves and times, about half of which must fail."""
    for kind in _REACHED_SHELF:
        for item in story.of_type(kind, 8):
            _update(
                story,
                item,
                "SET rating = :new",
                {":new": {"N": "9"}, ":low": {"N": "7"}, ":high": {"N": "10"}},
                condition="attribute_exists(rating) AND rating BETWEEN :low AND :high",
                returns="ALL_NEW",
            )
        for item in story.of_type(kind, 4):
            _update(
                story,
                item,
                "SET notes = :n",
                {
                    ":n": {"S": "The"},
                    ":upcoming": {"S": "Upcoming"},
                    ":now": {"N": str(story.now)},
                    ":long": {"N": "10"},
                },
                condition="NOT shelf = :upcoming AND movedAt < :now"
                " AND (begins_with(title, :n) OR size(title) > :long)",
                returns="ALL_OLD",
                on_failure="ALL_OLD",
            )
    missing = {HASH_KEY: {"S": "Book:00000000-0000-4000-8000-000000000000"}}
    _update(story, missing, "SET rating = :r", {":r": {"N": "1"}}, returns="ALL_NEW")


def moving_between_shelves(story: Narrator) -> None:
    """Re-shelving sets the shelf, the composite that an index hangs on, and the time, all at once."""
    for kind, shelf in _BUSY_SHELF.items():
        for item in story.of_type(kind, 12):
            _move(story, item, shelf)
    for kind, shelf in _REACHED_SHELF.items():
        for item in story.of_type(kind, 12):
            _move(story, item, shelf)


def letting_go(story: Narrator) -> None:
    """Deletes: of what exists, of what never did, and twice."""
    leaving = [
        item
        for kind in ("Book", "VideoGame", "Feature", "TvSeason")
        for item in [item for item in story.of_type(kind, 9) if item["title"]["S"] not in _KEPT][:6]
    ]
    for _ in range(2):
        for position, item in enumerate(leaving):
            story.on_table(
                "delete_item",
                Key=key(item),
                ConditionExpression="attribute_exists(#key)",
                ExpressionAttributeNames={"#key": HASH_KEY},
                ReturnValues="ALL_OLD" if position % 2 else "NONE",
            )
    for item in leaving:
        story.items.remove(item)
    story.on_table("delete_item", Key={HASH_KEY: {"S": "Feature:nowhere"}}, ReturnValues="ALL_OLD")


def two_at_once(story: Narrator) -> None:
    """Several devices report hours for the same games at the same time: answers race, the sum must not."""
    games = [story.titled("VideoGame", title) for title in ("Stardew Valley", "Factorio", "Balatro")]
    client = story.client

    def play(writer: int) -> int:
        for turn in range(_HOT_WRITES):
            client.update_item(
                TableName=story.table,
                Key=key(games[(writer + turn) % len(games)]),
                UpdateExpression="ADD hoursPlayed :h",
                ExpressionAttributeValues={":h": {"N": "0.5"}},
            )
        return _HOT_WRITES

    with ThreadPoolExecutor(_HOT_WRITERS) as devices:
        story.calls["update_item"] += sum(devices.map(play, range(_HOT_WRITERS)))
    for game in games:
        story.on_table("get_item", Key=key(game), ConsistentRead=True)


def all_or_nothing(story: Narrator) -> None:
    """Transactions: a series moves with its seasons, some are cancelled on purpose, and many keys are read at once."""
    seasons = story.of_type("TvSeason")
    for position, series in enumerate(story.of_type("TvSeries", 12)):
        own = [season for season in seasons if season["seriesId"] == series["id"]][:5]
        moved = {":m": {"N": str(story.tick())}}
        actions: list[dict[str, Any]] = [
            {
                "Update": {
                    "TableName": story.table,
                    "Key": key(item),
                    "UpdateExpression": "SET movedAt = :m",
                    "ExpressionAttributeValues": moved,
                }
            }
            for item in (series, *own)
        ]
        if position % 3 == 2:
            actions.append(
                {
                    "ConditionCheck": {
                        "TableName": story.table,
                        "Key": key(story.of_type("Book", 1)[0]),
                        "ConditionExpression": "#type = :feature",
                        "ExpressionAttributeNames": {"#type": "type"},
                        "ExpressionAttributeValues": {":feature": {"S": "Feature"}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                }
            )
        token = str(uuid.UUID(int=story.dice.getrandbits(128), version=4))
        story.call("transact_write_items", TransactItems=actions, ClientRequestToken=token)
    for _ in range(6):
        wanted = story.dice.sample(story.items, 8)
        story.call(
            "transact_get_items",
            TransactItems=[{"Get": {"TableName": story.table, "Key": key(item)}} for item in wanted],
        )


def reading_by_key(story: Narrator) -> None:
    """Pages of single things: consistent or not, whole or in part, there or not, one by one and in batches."""
    for kind in _REACHED_SHELF:
        for item in story.of_type(kind, 20):
            story.on_table("get_item", Key=key(item), ConsistentRead=story.dice.random() < 0.5)
    for item in story.dice.sample(story.items, 20):
        story.on_table(
            "get_item",
            Key=key(item),
            ProjectionExpression="title, image.#url, platforms[0], #type, rating",
            ExpressionAttributeNames={"#url": "url", "#type": "type"},
        )
    for number in range(5):
        story.on_table("get_item", Key={HASH_KEY: {"S": f"Book:nowhere-{number}"}}, ConsistentRead=True)
    for _ in range(6):
        asked = story.dice.sample(story.items, 30)
        story.call("batch_get_item", RequestItems={story.table: {"Keys": [key(item) for item in asked]}})
    books = [key(item) for item in story.of_type("Book", 10)]
    story.call(
        "batch_get_item",
        RequestItems={
            story.table: {
                "Keys": [*books, {HASH_KEY: {"S": "Book:nowhere"}}],
                "ProjectionExpression": "title, author",
                "ConsistentRead": True,
            }
        },
    )


def browsing(story: Narrator) -> None:
    """Lists, as the website shows them: first the count over all pages, then a page or two, newest first."""
    for index in ("type", "type-addedAt"):
        for kind in _REACHED_SHELF:
            _list(story, index, kind, "attribute_exists(title)")
    for index in ("shelf", "shelf-addedAt"):
        for shelf in sorted({item["type:shelf"]["S"] for item in story.items}):
            _list(story, index, shelf, None)
    _list(story, "category", "watching", "NOT shelf = :upcoming", {":upcoming": {"S": "Upcoming"}})
    for series in story.of_type("TvSeries"):
        for _ in story.pages("query", **_query("seriesId", series["id"]["S"]), ScanIndexForward=True, Limit=4):
            pass
    for item in (item for item in story.dice.sample(story.items, 60) if "externalId" in item):
        story.on_table("query", **_query("externalId", item["externalId"]["S"]))
    for title in ("The Hobbit", "The Shining", "The Fellowship of the Ring"):
        shared = next(item for item in story.items if item["title"]["S"] == title)
        story.on_table("query", **_query("externalId", shared["externalId"]["S"]))


def searching(story: Narrator) -> None:
    """Search by the beginning of a title, between dates, by rating: key conditions and filters of every form."""
    for kind in _REACHED_SHELF:
        for prefix in ("The ", "D", "S", "1", "Ō", "千"):
            asked = _query("title", kind, "begins_with(#range, :p)", {":p": {"S": prefix}})
            for _ in story.pages("query", **asked, Limit=7):
                pass
        whole = _query("title", kind, "#range BETWEEN :a AND :b", {":a": {"S": "F"}, ":b": {"S": "M"}})
        story.on_table("query", **whole, ScanIndexForward=False)
        for comparison in ("<", "<=", ">", ">=", "="):
            moment = story.dice.choice(story.of_type(kind))["movedAt"]
            asked = _query("type", kind, f"#range {comparison} :m", {":m": moment})
            story.on_table("query", **asked, Limit=25, ScanIndexForward=comparison in ("<", "="))
        moments = sorted(int(item["addedAt"]["N"]) for item in story.of_type(kind))
        early, late = moments[len(moments) // 4], moments[3 * len(moments) // 4]
        values = {":from": {"N": str(early)}, ":to": {"N": str(late)}, ":r": {"N": "8.5"}, ":x": {"S": "Upcoming"}}
        asked = _query("type-addedAt", kind, "#range BETWEEN :from AND :to", values)
        for _ in story.pages("query", **asked, FilterExpression="rating >= :r AND shelf <> :x", Limit=20):
            pass
    pc: Item = {":p": {"S": "PC"}}
    long: Item = {":h": {"N": "50"}}
    for condition, values in (
        ("contains(platforms, :p)", pc),
        ("hoursPlayed > :h", long),
        ("contains(platforms, :p) OR NOT hoursPlayed <= :h", pc | long),
    ):
        story.on_table("query", **_query("type", "VideoGame", None, values), FilterExpression=condition)
    some = _query("type", "Book", None, {":tag": {"S": "favourite"}})
    story.on_table("query", **some, FilterExpression="contains(tags, :tag)")
    in_list = _query("shelf", "Book:Read", None, {":a": {"N": "8"}, ":b": {"N": "8.5"}, ":c": {"N": "10"}})
    story.on_table("query", **in_list, FilterExpression="rating IN (:a, :b, :c)", Select="COUNT")


def walking_through(story: Narrator) -> None:
    """Scans: whole, in segments, filtered, counted, and over an index."""
    for _ in story.pages("scan", Limit=60):
        pass
    for segment in range(4):
        for _ in story.pages("scan", Segment=segment, TotalSegments=4, ConsistentRead=True):
            pass
    rated = {"FilterExpression": "rating > :r", "ExpressionAttributeValues": {":r": {"N": "9"}}}
    for _ in story.pages("scan", **rated, Limit=100):
        pass
    for _ in story.pages("scan", **rated, Select="COUNT"):
        pass
    for _ in story.pages("scan", IndexName="seriesId", ProjectionExpression="title, seasonNumber"):
        pass


def asking_wrongly(story: Narrator) -> None:
    """What DynamoDB refuses, it refuses through any proxy: a wrong key, index, expression, and a table not there."""
    story.on_table("get_item", Key={"id": {"S": "1"}})
    story.on_table("query", **(_query("type", "Book") | {"IndexName": "nonesuch"}))
    story.on_table("scan", FilterExpression="rating >")
    story.on_table("update_item", Key=key(story.items[0]), UpdateExpression="SET rating = :undefined")
    story.call("get_item", TableName="nonesuch", Key=key(story.items[0]))


Chapter = Callable[[Narrator], None]

CHAPTERS: dict[str, Chapter] = {
    "Filling the shelves": filling_the_shelves,
    "Creating twice": creating_twice,
    "Rating and noting": rating_and_noting,
    "Failing conditions": failing_conditions,
    "Moving between shelves": moving_between_shelves,
    "Reading by key": reading_by_key,
    "Letting go": letting_go,
    "Two at once": two_at_once,
    "All or nothing": all_or_nothing,
    "Browsing": browsing,
    "Searching": searching,
    "Walking through": walking_through,
    "Asking wrongly": asking_wrongly,
}


def _create(story: Narrator, item: Item, **more: Any) -> None:
    story.on_table(
        "put_item",
        Item=item,
        ConditionExpression="attribute_not_exists(#key)",
        ExpressionAttributeNames={"#key": HASH_KEY},
        **more,
    )


def _update(
    story: Narrator,
    item: Item,
    expression: str,
    values: Item | None = None,
    *,
    condition: str = "",
    returns: str = "NONE",
    on_failure: str = "NONE",
) -> None:
    exists = "attribute_exists(#key)"
    arguments: dict[str, Any] = {
        "Key": key(item),
        "UpdateExpression": expression,
        "ConditionExpression": f"{exists} AND {condition}" if condition else exists,
        "ExpressionAttributeNames": {"#key": HASH_KEY},
        "ReturnValues": returns,
        "ReturnValuesOnConditionCheckFailure": on_failure,
    }
    if values:
        arguments["ExpressionAttributeValues"] = values
    story.on_table("update_item", **arguments)


def _move(story: Narrator, item: Item, shelf: str) -> None:
    kind = item["type"]["S"]
    moved = {":s": {"S": shelf}, ":ts": {"S": f"{kind}:{shelf}"}, ":m": {"N": str(story.tick())}}
    story.on_table(
        "update_item",
        Key=key(item),
        UpdateExpression="SET shelf = :s, #typeShelf = :ts, movedAt = :m",
        ConditionExpression="attribute_exists(#key)",
        ExpressionAttributeNames={"#key": HASH_KEY, "#typeShelf": "type:shelf"},
        ExpressionAttributeValues=moved,
        ReturnValues="ALL_NEW",
    )
    # Billio's data layer reads back what it wrote.
    story.on_table("get_item", Key=key(item), ConsistentRead=True)


def _query(index: str, hash_value: str, condition: str | None = None, values: Item | None = None) -> dict[str, Any]:
    hash_key, range_key, _ = INDEXES[index]
    names = {"#hash": hash_key} | ({"#range": range_key} if condition else {})
    return {
        "IndexName": index,
        "KeyConditionExpression": "#hash = :hash" + (f" AND {condition}" if condition else ""),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {":hash": {"S": hash_value}} | (values or {}),
    }


def _list(story: Narrator, index: str, hash_value: str, condition: str | None, values: Item | None = None) -> None:
    asked = _query(index, hash_value, None, values)
    if condition:
        asked["FilterExpression"] = condition
    for _ in story.pages("query", **asked, Select="COUNT"):
        pass
    for shown, _ in enumerate(story.pages("query", **asked, ScanIndexForward=False, Limit=10), 1):
        if shown == 3:
            break
    story.on_table("query", **asked, ScanIndexForward=True, Limit=15)
