"""The description of the admin port for programs: OpenAPI 3.1, served at /v1/openapi.json.

Written out by hand, so that it says what is promised and not what happens to be so; a test asks the port everything
that stands here. The console's pages are for people, and are not part of it.
"""

from __future__ import annotations

from typing import Final

from proxy.admin.request_parsing import MAX_NAME, MAX_TEXT
from proxy.cutover.stages import Stage
from proxy.settings.gate import CRITERIA
from proxy.web.openapi_frame import Schema, frame, parameter, problem, ref

_TEXT: Final[Schema] = {"type": "string"}
_MAYBE: Final[Schema] = {"type": ["string", "null"]}
_WHEN: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[Schema] = {"type": "number"}
_FREE: Final[Schema] = {"type": "object", "additionalProperties": True}
_RAMP: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 100}
_LINE: Final[Schema] = {"type": "string", "maxLength": MAX_TEXT, "pattern": r"^[^\u0000-\u001f]*$"}
_NAME: Final[Schema] = {"type": "string", "maxLength": MAX_NAME, "pattern": r"^[^\u0000-\u001f]*$"}
_PARKED_ID: Final = parameter("id", "path", {"type": "string", "minLength": 1}, "As in `parked` of /v1/parked.")


def document(version: str) -> Schema:
    """The whole description, of this version."""
    return frame(
        "Crossfade admin API",
        version,
        "Health, metrics, stages, the gate and its history. Requests of other web pages are refused.",
        tokens="admin.read_token to look, admin.operator_token to change. With no token set the port is a loopback "
        "one, and callers on the same machine are operators.",
        paths=_paths(),
        schemas=_schemas(),
        problems=_PROBLEMS,
    )


_PROBLEMS: Final = {
    "Malformed": "The request is wrong; `detail` says where.",
    "Unauthorized": "A token is missing or not known.",
    "Forbidden": "The token may only read, another web page sent it, or the name is not this port's.",
    "NotFound": "There is no such table, type, process or page.",
    "Conflict": "It was not done: the gate is shut, something else moved, or a proxy did not answer in time.",
    "TooLarge": "The body is too large.",
    "Unsupported": "The body is not application/json.",
    "Unavailable": "Not now: the stage table or a store cannot be reached.",
}
_STATUS: Final = {
    "400": "Malformed",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "NotFound",
    "409": "Conflict",
    "413": "TooLarge",
    "415": "Unsupported",
    "503": "Unavailable",
}


def _paths() -> Schema:
    table = parameter("table", "path", {"type": "string", "minLength": 1}, "A DynamoDB table's name.")
    item_type = parameter("type", "path", {"type": "string", "minLength": 1}, "An item type of its mapping.")
    paths: Schema = {
        "/livez": {"get": _get("Whether the process answers", _object(live=_FLAG), open_=True)},
        "/readyz": {"get": _ready()},
        "/metrics": {"get": _metrics()},
        "/v1/openapi.json": {"get": _get("This description", _FREE)},
        "/v1/status": {"get": _get("Stages, journal, verdicts, breakers, shed comparisons, uptime", ref("Status"))},
        "/v1/mismatches": {
            "get": _get(
                "The newest disagreements, newest first, redacted as the settings say",
                _object(mismatches=_list(ref("Mismatch"))),
                parameter("limit", "query", {"type": "integer", "minimum": 1}, "The most returned."),
                "400",
            )
        },
        "/v1/parked": {
            "get": _get(
                "The parked keys of this process, the oldest first, redacted as the settings say",
                _object(parked=_list(ref("Parked"))),
                parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}, "The most returned."),
                "400",
            )
        },
        "/v1/parked/retry": {"post": _retry("Have all parked keys of this process converge once more")},
        "/v1/parked/{id}/retry": {"post": _retry("Have a parked key converge once more", _PARKED_ID)},
        "/v1/parked/{id}": {"delete": _drop()},
        "/v1/stages": {"get": _get("Every table and type, and the proxies", ref("Standing"), "503")},
        "/v1/history": {
            "get": _get(
                "Every change of stage, newest first",
                _object(history=_list(ref("Entry"))),
                parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 500}, "The most returned."),
                "400",
                "503",
            )
        },
        "/v1/processes/{process}": {"delete": _forget()},
    }
    for suffix, named in (("", (table,)), ("/{type}", (table, item_type))):
        scope = "type" if suffix else "table"
        paths[f"/v1/stages/{{table}}{suffix}"] = {
            "get": _get(f"The stage of a {scope}", ref("Placed"), *named, "404", "503"),
            "put": _move(scope, named),
        }
        paths[f"/v1/gate/{{table}}{suffix}"] = {
            "get": _get(
                f"What must hold before a {scope} is moved",
                ref("Gate"),
                *named,
                parameter("to", "query", ref("Stage"), "The stage; without it the next one."),
                parameter("ramp", "query", _RAMP, "In shadow: the share of reads that DSQL would serve."),
                "400",
                "404",
                "503",
            )
        }
    return paths


def _ready() -> Schema:
    ready = _get("Whether it should get traffic", _object(ready=_FLAG, reasons=_list(_TEXT)), open_=True)
    ready["responses"]["503"] = {"description": "It should not.", "content": ready["responses"]["200"]["content"]}
    return ready


def _metrics() -> Schema:
    metrics = _get("All series, in Prometheus's text format", _TEXT, open_=True)
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": _TEXT}}
    metrics["security"] = [{}, {"bearer": []}]
    metrics["responses"]["401"] = problem("Unauthorized")
    return metrics


def _move(scope: str, named: tuple[Schema, ...]) -> Schema:
    moved = {"application/json": {"schema": {"oneOf": [ref("Moved"), ref("Preview")]}}}
    lines = {"application/x-ndjson": {"schema": {"description": "A Progress a line; the last is an End.", **_TEXT}}}
    return {
        "summary": f"Move a {scope} to a stage",
        "description": "Answers when the move has ended. With `Accept: application/x-ndjson` each step is a line, and "
        "the last one holds the same document as `end`; the status is then 200 whatever came of it.",
        "parameters": list(named),
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Change")}}},
        "responses": {
            "200": {"description": "It was moved, or would be.", "content": {**moved, **lines}},
            **_problems("400", "404", "409", "413", "415", "503"),
        },
    }


def _retry(summary: str, *named: Schema) -> Schema:
    return {
        "summary": summary,
        "parameters": list(named),
        "responses": {"200": _json("They are tried.", _object(retried=_COUNT)), **_problems(*(["404"] * len(named)))},
    }


def _drop() -> Schema:
    because = parameter("because", "query", {**_LINE, "minLength": 1}, "Why the key may differ.", required=True)
    return {
        "summary": "Give a parked key up: the stores stay different there",
        "description": "The next write to the key, or a comparison of it, finds it again.",
        "parameters": [_PARKED_ID, because, parameter("by", "query", _NAME, "Who asks.")],
        "responses": {
            "200": _json("It is not parked any more.", _object(id=_TEXT, dropped=_FLAG)),
            **_problems("400", "404"),
        },
    }


def _forget() -> Schema:
    process = parameter("process", "path", {"type": "string", "minLength": 1}, "As in `processes` of /v1/stages.")
    because = parameter("because", "query", {**_LINE, "minLength": 1}, "Why its keys are not missed.", required=True)
    return {
        "summary": "Forget a process that is gone for good, and may have owed keys",
        "description": "Sweep its tables first: what stood in its journal alone is lost otherwise.",
        "parameters": [process, because, parameter("by", "query", _NAME, "Who asks.")],
        "responses": {
            "200": _json("It is forgotten.", _object(process=_TEXT, forgotten=_FLAG, follows=_TEXT)),
            **_problems("400", "404", "409", "503"),
        },
    }


def _schemas() -> dict[str, Schema]:
    stage = ref("Stage")
    return {
        "Stage": {"type": "string", "enum": [str(each) for each in Stage]},
        "Status": {
            **_object(
                version=_TEXT,
                uptime_seconds=_NUMBER,
                epoch=_COUNT,
                journal=_object(keys=_COUNT, oldest_seconds=_NUMBER, parked=_COUNT),
                shed={"type": "object", "additionalProperties": _COUNT},
                breaker={"type": "object", "additionalProperties": _TEXT},
            ),
            "additionalProperties": True,
        },
        "Mismatch": {
            **_object(at=_WHEN, table=_TEXT, type=_TEXT, operation=_TEXT, request_id=_TEXT, path=_TEXT, kind=_TEXT),
            "additionalProperties": True,
        },
        "Parked": _object(
            id=_TEXT,
            table=_TEXT,
            type=_TEXT,
            key=_FREE,
            reason=_TEXT,
            remedy=_TEXT,
            seconds=_NUMBER,
        ),
        "Criterion": _object(
            name={"type": "string", "enum": [*CRITERIA, "door", "mirror_stale"]},
            holds=_FLAG,
            value=_TEXT,
            wanted=_TEXT,
            sentence=_TEXT,
            blocks=_FLAG,
        ),
        "Place": _object(**_place()),
        "Placed": _object(epoch=_COUNT, **_place()),
        "Standing": _object(
            epoch=_COUNT,
            pinned=_MAYBE,
            flip={"oneOf": [ref("Flip"), {"type": "null"}]},
            processes=_list(ref("Process")),
            stages=_list(ref("Place")),
        ),
        "Flip": _object(table=_TEXT, type=_MAYBE, **{"from": stage}, to=stage, phase=_TEXT, by=_MAYBE, started=_WHEN),
        "Process": _object(
            process=_TEXT,
            host=_MAYBE,
            pid={"type": ["integer", "null"]},
            listen=_MAYBE,
            seen=_WHEN,
            gone=_FLAG,
            epoch=_COUNT,
            phase=_MAYBE,
            note=_MAYBE,
            owes=_FLAG,
            here=_FLAG,
            database=_MAYBE,
            mappings={"type": "object", "additionalProperties": _TEXT},
            problem=_MAYBE,
        ),
        "Gate": _object(
            table=_TEXT,
            type=_MAYBE,
            **{"from": stage},
            to=stage,
            open=_FLAG,
            impossible=_MAYBE,
            criteria=_list(ref("Criterion")),
        ),
        "Entry": _FREE,
        "Change": {
            "type": "object",
            "additionalProperties": False,
            "required": ["stage"],
            "properties": {
                "stage": stage,
                "ramp": {**_RAMP, "description": "In shadow: the share of reads that DSQL serves, in percent."},
                "force": {**_FLAG, "description": "Though the gate is shut. Needs `because`."},
                "because": {**_LINE, "description": "Kept in the history."},
                "by": {**_NAME, "description": "Who asks; the token's role is added."},
                "epoch": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 2**53 - 1,
                    "description": "Only if the stages are still those of this epoch.",
                },
                "dry_run": {**_FLAG, "description": "Only say what would happen, and what the gate says."},
            },
        },
        "Moved": _object(
            outcome={"type": "string", "enum": ["moved", "unchanged"]},
            table=_TEXT,
            type=_MAYBE,
            **{"from": stage},
            to=stage,
            ramp=_RAMP,
            epoch=_COUNT,
            held_ms=_NUMBER,
        ),
        "Preview": _object(
            outcome={"type": "string", "enum": ["would_move", "would_not"]},
            detail=_TEXT,
            table=_TEXT,
            type=_MAYBE,
            **{"from": stage},
            to=stage,
            ramp=_RAMP,
            epoch=_COUNT,
            sentences=_list(_TEXT),
            gate=ref("Gate"),
        ),
        "Progress": _object(
            phase=_TEXT,
            seconds=_NUMBER,
            text=_TEXT,
            processes=_list(_object(process=_TEXT, host=_TEXT, phase=_TEXT, note=_TEXT)),
        ),
        "Problem": {
            **_object(type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT),
            "additionalProperties": True,
        },
    }


def _place() -> dict[str, Schema]:
    return {
        "table": _TEXT,
        "type": _MAYBE,
        "own": _FLAG,
        "stage": ref("Stage"),
        "authority": {"type": "string", "enum": ["dynamodb", "dsql"]},
        "ramp": _RAMP,
        "since": _WHEN,
        "era": {
            **_object(number=_COUNT, since=_WHEN, because=_MAYBE),
            "description": "The unbroken time in which every acknowledged write reached both stores.",
        },
        "recorded": {**_MAYBE, "description": "The authority by DSQL's own record."},
        "mapping": {**_MAYBE, "description": "The digest of the mapping in force, by DSQL's record."},
        "by": _MAYBE,
        "next": {"oneOf": [ref("Stage"), {"type": "null"}]},
        "blocked_by": _list(ref("Criterion")),
    }


def _get(summary: str, schema: Schema, *more: Schema | str, open_: bool = False) -> Schema:
    """A question: its parameters and the numbers of the problems it may have are in `more`."""
    question: Schema = {
        "summary": summary,
        "parameters": [each for each in more if not isinstance(each, str)],
        "responses": {
            "200": _json("The answer.", schema),
            **_problems(*(each for each in more if isinstance(each, str)), needs_token=not open_),
        },
    }
    if open_:
        question["security"] = []
    return question


def _problems(*statuses: str, needs_token: bool = True) -> Schema:
    found = {*statuses, "403", *(("401", "400") if needs_token else ())}
    return {status: problem(_STATUS[status]) for status in sorted(found)}


def _json(text: str, schema: Schema) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(properties)}


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}
