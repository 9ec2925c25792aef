"""Where ministack is known to answer otherwise than DynamoDB, each with the page of AWS's that says how it should be.

A difference between the two stores that one of these explains is ministack's; every other is ours. Each is as narrow as
it can be told: by the request, by what both answered, never by the action alone. `applies` sees one request that was
asked of both and answered differently.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from comparators.difference import Kind
from comparators.errors import code_of, message_of
from proxy.dynamodb.values import canonical_item, canonical_number
from tests.property.twins import Asked

VALIDATION: Final = "ValidationException"
CONDITION: Final = "ConditionalCheckFailedException"
CANCELED: Final = "TransactionCanceledException"


@dataclass(frozen=True, slots=True)
class KnownFault:
    """`page` is AWS's page that makes ministack's answer wrong, or what was seen of the service where AWS is silent."""

    name: str
    page: str
    applies: Callable[[Asked], bool]


def explained(asked: Asked) -> KnownFault | None:
    """The fault of ministack's that a difference comes from; None: it is ours."""
    return next((fault for fault in KNOWN if fault.applies(asked)), None)


# --- what a request has, and how it was answered ----------------------------------------------------------------------


def _parts(asked: Asked) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(`Put`, its parameters) and so on; of an operation on one item, its name and all of it."""
    request = asked.request
    if asked.action.startswith("Transact"):
        for entry in request["TransactItems"]:
            yield from entry.items()
    elif asked.action == "BatchWriteItem":
        for entries in request["RequestItems"].values():
            for entry in entries:
                yield from entry.items()
    elif asked.action == "BatchGetItem":
        yield from request["RequestItems"].items()
    else:
        yield asked.action, request


def _refusals(asked: Asked) -> Iterator[tuple[str, str]]:
    """Codes and messages, ministack's and DSQL's, of refusals whose codes are alike: of the whole, and of each part."""
    theirs, ours = asked.ministack[1], asked.dsql[1]
    yield f"{code_of(theirs)}: {message_of(theirs)}", f"{code_of(ours)}: {message_of(ours)}"
    for one, other in zip(theirs.get("CancellationReasons") or (), ours.get("CancellationReasons") or (), strict=False):
        yield f"{one.get('Code')}: {one.get('Message', '')}", f"{other.get('Code')}: {other.get('Message', '')}"


def _failed(answer: tuple[int, Mapping[str, Any]], code: str, words: str = "") -> bool:
    return answer[0] != 200 and code_of(answer[1]) == code and re.search(words, message_of(answer[1])) is not None


def _ok(answer: tuple[int, Mapping[str, Any]]) -> bool:
    return answer[0] == 200


def _only_messages(asked: Asked) -> bool:
    return bool(asked.compared.differences) and all(
        found.kind is Kind.ERROR_MESSAGE for found in asked.compared.differences
    )


# --- words ------------------------------------------------------------------------------------------------------------

# What two refusals of one code may say for one reason: ministack's words, ours.
_WORDS: Final = tuple(
    (re.compile(theirs, re.DOTALL), re.compile(ours, re.DOTALL))
    for theirs, ours in (
        (r"Value at 'Limit' failed to satisfy", r"at 'limit' failed to satisfy"),
        (r"invalid for update: ", r"invalid for update$"),
        (r"Member must satisfy enum value set", r"ReturnValues can only be ALL_OLD or NONE$"),
        (r"ReturnValues can only be ALL_OLD or NONE$", r"Member must satisfy enum value set"),
        (r"The provided starting key is invalid", r"The provided starting key is invalid$"),
        (r"Conditions can be of length 1 or 2 only|condition not supported", r"number of query conditions"),
        (r"starting key does not match the range key predicate", r"starting key is outside query boundaries"),
        (r"Action DELETE is not supported for the type", r"DELETE action with value is not supported for the type"),
        (r"Action ADD is only supported for", r"ADD action is not supported for the type"),
        (r"Type mismatch for attribute \S+$", r"Type mismatch for attribute to update$"),
        (r"used in expression is not defined", r"ExpressionAttribute(Values|Names) must not be empty"),
        (r"can only be specified when using expressions", r"can only be specified when using expressions"),
        (r"Secondary index|Index Key", r"Secondary index|Index Key|secondary index key"),
        (r"Too many items|length less than or equal to", r"Too many items|length less than or equal to"),
    )
)
_PREFIX: Final = "1 validation error detected: "


def _same_reason(theirs: str, ours: str) -> bool:
    if theirs.replace(_PREFIX, "") == ours.replace(_PREFIX, ""):
        return True
    return any(one.search(theirs) and other.search(ours) for one, other in _WORDS)


def _other_words(asked: Asked) -> bool:
    pairs = [(one, other) for one, other in _refusals(asked) if one != other]
    return _only_messages(asked) and all(_same_reason(one, other) for one, other in pairs)


# --- which refusal comes first ----------------------------------------------------------------------------------------


def _select_first(asked: Asked) -> bool:
    """Select that goes neither with the request's projection nor with its having no index, nor its filter."""
    return _both_failed(asked) and "Select" in asked.request


def _both_failed(asked: Asked) -> bool:
    return _only_messages(asked) and _failed(asked.ministack, VALIDATION) and _failed(asked.dsql, VALIDATION)


def _both_refuse(asked: Asked) -> bool:
    """Two refusals before anything is read: a request made wrong, and wrong in another way too."""
    doubled = _failed(asked.dsql, VALIDATION, "contains duplicates|multiple operations on one item")
    return (asked.mistaken or doubled) and _both_failed(asked)


_STATIC: Final = (
    "This attribute is part of the key|action (with value )?is not supported for the type|Type mismatch for Index Key|"
    "secondary index key is not supported|can only be specified when using expressions|must not be empty|"
    "Only DELETE action is allowed|Type mismatch for key|Missing the key|does not match the schema|"
    "Can not use both expression and non-expression|unused in expressions|exceeded the maximum size limit"
)


def _judged_first(asked: Asked) -> bool:
    """ministack looks at the item before it has looked at all of the request, or instead."""
    if asked.action not in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "TransactGetItems"):
        return False
    return _failed(asked.dsql, VALIDATION, _STATIC) and not _same_words(asked)


def _key_of_a_member(asked: Asked) -> bool:
    """A transaction with a key that is none of its table's, or is to be changed: ministack takes it, refuses the whole
    request, or looks at the items first."""
    reasons = asked.dsql[1].get("CancellationReasons", ())
    told = [
        message_of({"message": each.get("Message", "")}) for each in reasons if each.get("Code") == "ValidationError"
    ]
    return asked.action.startswith("Transact") and any(re.search(_MEMBERS_KEY, text) for text in told)


_MEMBERS_KEY: Final = (
    "Type mismatch for key|Missing the key|does not match the schema|This attribute is part of the key|"
    "Type mismatch for Index Key"
)


def _same_words(asked: Asked) -> bool:
    return all(_same_reason(one, other) for one, other in _refusals(asked))


# --- conditions and updates -------------------------------------------------------------------------------------------


def _text(asked: Asked) -> str:
    return json.dumps(asked.request, ensure_ascii=False)


def _removes_from_nothing(asked: Asked) -> bool:
    """An update that only takes away, of an item that is not there."""
    for kind, part in _parts(asked):
        if kind not in ("UpdateItem", "Update"):
            continue
        text = part.get("UpdateExpression")
        actions = [entry.get("Action", "PUT") for entry in (part.get("AttributeUpdates") or {}).values()]
        if text is not None and re.match(r"\s*(REMOVE|DELETE)\b", text) and not re.search(r"\b(SET|ADD)\b", text):
            return _ok(asked.ministack) and _ok(asked.dsql)
        if actions and set(actions) == {"DELETE"}:
            return _ok(asked.ministack) and _ok(asked.dsql)
    return False


def _nothing_projected(asked: Asked) -> bool:
    """A part of which the projection shows nothing: `{}` there, `{"Item": {}}` here."""
    if asked.action != "TransactGetItems" or not (_ok(asked.ministack) and _ok(asked.dsql)):
        return False
    pairs = zip(asked.ministack[1]["Responses"], asked.dsql[1]["Responses"], strict=True)
    return all((one == {} and other == {"Item": {}}) or _part(one) == _part(other) for one, other in pairs)


def _part(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Sets have no order."""
    return {name: canonical_item(item) for name, item in response.items()}


def _old_null(asked: Asked) -> bool:
    """`Expected` with NULL or NOT_NULL, which take no value."""
    words = "must be used with ComparisonOperator: (NOT_)?NULL"
    return _failed(asked.ministack, VALIDATION, words)


def _passes_on_size(asked: Asked) -> bool:
    """A condition on the size of something that has none (a number, a boolean)."""
    if "size(" not in _text(asked):
        return False
    if asked.action in ("Query", "Scan"):
        return _ok(asked.ministack) and _ok(asked.dsql)
    return bool({code_of(answer[1]) for answer in (asked.ministack, asked.dsql)} & {CONDITION, CANCELED})


_UNBEARABLE: Final = (
    "document path provided in the update expression is invalid|operand in the update expression has an incorrect|"
    "refers to an attribute that does not exist|update the secondary index key"
)
_MINISTACK_LOOKS: Final = (
    "Type mismatch for Index Key|more than one datatypes set|refers to an attribute that does not exist|"
    "document path provided in the update expression is invalid|operand in the update expression has an incorrect"
)


def _lenient_update(asked: Asked) -> bool:
    """An update along a path, or of a type, that the item does not bear; or that fails in two ways at once."""
    updates = any(kind in ("Update", "UpdateItem") for kind, _ in _parts(asked))
    if updates and _ok(asked.ministack):
        refused = (asked.dsql[1], *asked.dsql[1].get("CancellationReasons", ()))
        return any(re.search(_UNBEARABLE, message_of(each)) for each in refused)
    pairs = list(_refusals(asked))
    if asked.action == "TransactWriteItems" and not _ok(asked.ministack) and not _ok(asked.dsql):
        pairs = pairs[1:]
    return updates and all(one == other or _same_reason(one, other) or _unborne(one, other) for one, other in pairs)


def _unborne(theirs: str, ours: str) -> bool:
    if re.search(_UNBEARABLE, ours):
        return theirs in (": ", "None: ") or re.search(_MINISTACK_LOOKS, theirs) is not None
    # ministack finds an index key's type wrong before it has looked at the condition.
    judged = ours.startswith((CONDITION, "ConditionalCheckFailed", "None"))
    return judged and re.search("Type mismatch for Index Key", theirs) is not None


def _or_ignored(asked: Asked) -> bool:
    """ConditionalOperator OR between the conditions of a filter."""
    filtered = asked.request.get("QueryFilter") or asked.request.get("ScanFilter")
    return filtered is not None and asked.request.get("ConditionalOperator") == "OR" and _ok(asked.ministack)


def _fetches(asked: Asked) -> bool:
    """A local index asked for what it does not hold: it is fetched from the table."""
    name = asked.request.get("IndexName")
    if asked.action not in ("Query", "Scan") or not (_ok(asked.ministack) and _ok(asked.dsql)):
        return False
    schema = next(iter(asked.schemas.values()))
    index = schema.indexes.get(name or "")
    kinds = {found.kind for found in asked.compared.differences}
    return index is not None and index.local and index.projected is not None and kinds <= {Kind.EXTRA}


def _filters_whole_items(asked: Asked) -> bool:
    """A Scan of an index filters by what the index does not hold."""
    filtered = asked.request.get("FilterExpression") or asked.request.get("ScanFilter")
    if asked.action != "Scan" or not filtered or not (_ok(asked.ministack) and _ok(asked.dsql)):
        return False
    index = next(iter(asked.schemas.values())).indexes.get(asked.request.get("IndexName") or "")
    return index is not None and index.projected is not None


def _unchecked_in_batch(asked: Asked) -> bool:
    """Expressions, names and keys in the parts of a read of several items."""
    words = (
        "unused in expressions|can only be specified when using|Invalid ProjectionExpression|an empty|must not be empty"
    )
    several = asked.action in ("BatchGetItem", "TransactGetItems")
    return several and asked.mistaken and _ok(asked.ministack) and _failed(asked.dsql, VALIDATION, words)


def _one_reason(asked: Asked) -> bool:
    """A transaction with a part that fails to validate: what the conditions of the others come to is not told."""
    if not (_failed(asked.ministack, CANCELED) and _failed(asked.dsql, CANCELED)):
        return False
    theirs, ours = asked.ministack[1]["CancellationReasons"], asked.dsql[1]["CancellationReasons"]
    return "ValidationError" in {one["Code"] for one in theirs} and all(
        (one["Code"] in ("None", "ValidationError") and other["Code"] != "None") or one["Code"] == other["Code"]
        for one, other in zip(theirs, ours, strict=True)
    )


def _odd_start(asked: Asked) -> bool:
    words = "The provided starting key is (invalid|outside query boundaries)"
    return asked.mistaken and _ok(asked.ministack) and _failed(asked.dsql, VALIDATION, words)


def _respelt_key(asked: Asked) -> bool:
    """A key condition on a Number in another spelling: 5.00 for 5."""
    spelt = [value["N"] for value in asked.request.get("ExpressionAttributeValues", {}).values() if "N" in value]
    return asked.action == "Query" and any(canonical_number(text) != text for text in spelt)


def _trailing_comma(asked: Asked) -> bool:
    return (
        asked.mistaken
        and _ok(asked.ministack)
        and _failed(asked.dsql, VALIDATION, "Expression: (Syntax error; token|The expression can not be empty)")
    )


def _long_sum(asked: Asked) -> bool:
    return _ok(asked.ministack) and _failed(asked.dsql, VALIDATION, "^Number overflow")


def _whole_list(asked: Asked) -> bool:
    """UPDATED_NEW or UPDATED_OLD of an element: all of the list there, the element here."""
    wanted = str(asked.request.get("ReturnValues", "")).startswith("UPDATED")
    both = _ok(asked.ministack) and _ok(asked.dsql)
    return wanted and both and re.search(r"\[\d+\]", asked.request.get("UpdateExpression", "")) is not None


def _subsequence(asked: Asked) -> bool:
    """`contains` of a binary in a binary."""
    return '"B": ' in _text(asked) and re.search(r"contains\(|\"CONTAINS\"|NOT_CONTAINS", _text(asked)) is not None


def _lone_operator(asked: Asked) -> bool:
    words = "ConditionalOperator can(not| only) be used"
    return asked.mistaken and _failed(asked.dsql, VALIDATION, words)


def _no_such_member(asked: Asked) -> bool:
    """GetItem has no ExpressionAttributeValues: DynamoDB takes no notice."""
    words = "ExpressionAttributeValues (can only be specified|unused)"
    return asked.action == "GetItem" and _ok(asked.dsql) and _failed(asked.ministack, VALIDATION, words)


def _filters_on_key(asked: Asked) -> bool:
    words = "can only contain non-primary key attributes"
    return asked.action == "Query" and _ok(asked.ministack) and _failed(asked.dsql, VALIDATION, words)


def _reserved_name(asked: Asked) -> bool:
    words = "^Invalid ProjectionExpression: Attribute name is a reserved keyword"
    return asked.mistaken and _ok(asked.ministack) and _failed(asked.dsql, VALIDATION, words)


def _refused_by_us(words: str, *actions: str) -> Callable[[Asked], bool]:
    """ministack lets pass what AWS refuses in these words."""
    return lambda asked: asked.action in actions and _ok(asked.ministack) and _failed(asked.dsql, VALIDATION, words)


KNOWN: Final = (
    KnownFault(
        "other words for the same refusal",
        "API reference, 'Common Errors', ValidationException: the code is the contract. The service itself words the "
        "same refusal in two ways, region by region",
        _other_words,
    ),
    KnownFault(
        "one of two mistakes named",
        "API reference, 'Common Errors', ValidationException: nothing says which of several mistakes is named",
        lambda asked: _both_refuse(asked) or _select_first(asked),
    ),
    KnownFault(
        "the item judged before the request",
        "API reference, 'UpdateItem', ValidationException; 'Condition expressions': what the request alone shows to be "
        "wrong is refused whatever the item",
        _judged_first,
    ),
    KnownFault(
        "a transaction's member without a proper key",
        "Measured on AWS (paritysuite/dynamodb-conformance #10, #46, #60): TransactionCanceledException "
        "with ValidationError at that member",
        _key_of_a_member,
    ),
    KnownFault(
        "removing makes an item",
        "API reference, 'AttributeValueUpdate', Action, 'if no item with the specified key is found': DELETE causes "
        "nothing to happen",
        _removes_from_nothing,
    ),
    KnownFault(
        "a transaction's empty projection",
        "API reference, 'TransactGetItems', Responses: without projected attributes it is an empty map, which differs "
        "from an item that is not there",
        _nothing_projected,
    ),
    KnownFault(
        "OR between filters",
        "Developer guide, 'ConditionalOperator' (legacy): OR, one of the conditions",
        _or_ignored,
    ),
    KnownFault(
        "NULL without a value",
        "Developer guide, 'Expected' (legacy): NULL and NOT_NULL take no AttributeValueList",
        _old_null,
    ),
    KnownFault(
        "the size of a number",
        "Developer guide, 'Condition and filter expressions, operators, and functions', size: of strings, binaries, "
        "sets, lists and maps",
        _passes_on_size,
    ),
    KnownFault(
        "an update that the item does not bear",
        "API reference, 'TransactWriteItems', Validation Error: both messages; developer guide, 'Using update "
        "expressions', DELETE: the attribute must be a set",
        _lenient_update,
    ),
    KnownFault(
        "a local index fetches",
        "Developer guide, 'Local secondary indexes', 'Attribute projections': it fetches what it does not hold",
        _fetches,
    ),
    KnownFault(
        "a Scan of an index filters by more than it holds",
        "Developer guide, 'Using Global Secondary Indexes in DynamoDB', 'Attribute projections'",
        _filters_whole_items,
    ),
    KnownFault(
        "a read of several items unchecked",
        "API reference, 'BatchGetItem', ProjectionExpression and ExpressionAttributeNames: as in GetItem",
        _unchecked_in_batch,
    ),
    KnownFault(
        "a reserved word projected",
        "Developer guide, 'Reserved words in DynamoDB': SET is one, and they cannot be used as names in expressions",
        _reserved_name,
    ),
    KnownFault(
        "a transaction's other reasons",
        "API reference, 'TransactWriteItems', CancellationReasons: one for each item, in the order of the request",
        _one_reason,
    ),
    KnownFault(
        "a start key that no page ended with",
        "API reference, 'Query', ExclusiveStartKey: the value that was returned for LastEvaluatedKey",
        _odd_start,
    ),
    KnownFault(
        "an expression that is empty or ends in a comma",
        "Developer guide, 'Using update expressions', syntax summary: an action follows each comma",
        _trailing_comma,
    ),
    KnownFault(
        "a sum of more than 38 digits",
        "Developer guide, 'Supported data types and naming rules', Number: more than 38 digits are an exception",
        _long_sum,
    ),
    KnownFault(
        "more of a list than was updated",
        "API reference, 'UpdateItem', ReturnValues: only the updated attributes; of a map's member the service was "
        "seen to give the member alone",
        _whole_list,
    ),
    KnownFault(
        "a binary within a binary",
        "API reference, 'Condition', CONTAINS: of a Binary, a subsequence that matches",
        _subsequence,
    ),
    KnownFault(
        "a key in another spelling",
        "Developer guide, 'Supported data types and naming rules', Number: zeros at either end are trimmed",
        _respelt_key,
    ),
    KnownFault(
        "ConditionalOperator of one condition",
        "Developer guide, 'ConditionalOperator' (legacy): for conditions in Expected, QueryFilter or ScanFilter",
        _lone_operator,
    ),
    KnownFault(
        "a member that is none",
        "API reference, 'GetItem': has no ExpressionAttributeValues",
        _no_such_member,
    ),
    KnownFault(
        "Select of a Scan unchecked",
        "API reference, 'Scan', Select: one of four values",
        _refused_by_us("at 'select' failed to satisfy constraint", "Scan"),
    ),
    KnownFault(
        "a filter on the key",
        "API reference, 'Query', FilterExpression: does not allow key attributes",
        _filters_on_key,
    ),
    KnownFault(
        "an index asked for more than it holds",
        "Developer guide, 'Using Global Secondary Indexes in DynamoDB', 'Reading data': only attributes that are "
        "projected into the index",
        _refused_by_us("does not project", "Query", "Scan"),
    ),
    KnownFault(
        "Select with AttributesToGet",
        "API reference, 'Query', Select: with AttributesToGet only SPECIFIC_ATTRIBUTES",
        _refused_by_us("Cannot specify the AttributesToGet when choosing", "Query", "Scan"),
    ),
    KnownFault(
        "ALL_ATTRIBUTES of an index that has not all",
        "API reference, 'Query', Select, ALL_ATTRIBUTES: of a global index only if it projects all",
        _refused_by_us("Select type ALL_ATTRIBUTES is not supported for global secondary index", "Query", "Scan"),
    ),
    KnownFault(
        "an empty range",
        "API reference, 'Condition', BETWEEN: the first value is less than or equal to the second",
        _refused_by_us("lower bound is greater than the upper bound", "Query", "Scan"),
    ),
    KnownFault(
        "expressions mixed with older parameters",
        "Developer guide, 'Legacy DynamoDB conditional parameters': not both in one call",
        _refused_by_us("Can not use both expression and non-expression", "Query", "Scan", "GetItem"),
    ),
)
