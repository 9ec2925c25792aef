"""The items port against its own OpenAPI, by schemathesis: what is promised is so, no fault of ours, no open door."""

import asyncio
import copy
import json
import re
import sys
from pathlib import Path
from typing import Any

import schemathesis

from proxy.items.openapi import document
from proxy.items.queries import ItemQuery
from proxy.items.server import FILTERS
from proxy.items.type_definitions import KINDS, fields_of
from proxy.web.bearer_tokens import BearerTokens, Role
from tests.items.catalogues import catalogue_of, layer_at
from tests.items.ports import port

READ, WRITE = "read-0123456789abcdef", "write-0123456789abcdef"
KNOWN = "00000000-0000-0000-0000-00000000000a"
PATCHED = {"type:id", "title", "rating", "image", "movedAt"}
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,ignored_auth"
)


def described(folder: Path) -> Path:
    """The description, with an id that is there, so that half of what is asked finds something; and with bodies of one
    type alone, which has fields of nearly every form. What is asked in one place is not asked again in another: filters
    of /items only, and of fields in a patch those that a patch treats otherwise."""
    whole = copy.deepcopy(document("1.2.3"))
    for path in whole["paths"].values():
        for operation in path.values():
            for each in operation.get("parameters", ()):
                if each["in"] == "path" and each["name"] == "id":
                    each["schema"] = {"anyOf": [{"enum": [KNOWN]}, each["schema"]]}
    one = whole["paths"]["/items/{type}/{id}"]["patch"]
    one["parameters"][0]["schema"] = {"enum": ["TvSeason"]}
    _asks(one, {"$ref": "#/components/schemas/TvSeasonPatch"})
    _asks(whole["paths"]["/items"]["post"], {"$ref": "#/components/schemas/TvSeason"})
    watching = whole["paths"]["/watching"]["get"]
    watching["parameters"] = [each for each in watching["parameters"] if each["name"] not in FILTERS]
    patch = whole["components"]["schemas"]["TvSeasonPatch"]
    patch["properties"] = {name: form for name, form in patch["properties"].items() if name in PATCHED}
    file = folder / "openapi.json"
    file.write_text(json.dumps(whole))
    return file


def _asks(operation: dict[str, Any], schema: dict[str, Any]) -> None:
    operation["requestBody"]["content"]["application/json"]["schema"] = schema


async def run(url: str, folder: Path, *options: str) -> str:
    """Run schemathesis; gives what it printed, and fails with it."""
    file = await asyncio.to_thread(described, folder)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(file),
        f"--url={url}",
        "--no-color",
        "--warnings=off",
        "--generation-database=none",
        "--no-shrink",
        "--seed=4",
        "--request-timeout=120",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    try:
        async with asyncio.timeout(600):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    text = out.decode()
    assert process.returncode == 0, text
    return text


def test_the_description_is_openapi_and_says_what_is_declared() -> None:
    whole: Any = document("1.2.3")
    schemathesis.openapi.from_dict(whole).validate()
    schemas = whole["components"]["schemas"]
    for kind in KINDS:
        properties = {name for name, form in schemas[kind]["properties"].items() if form is not False}
        assert properties - {"type", "category"} == set(fields_of(kind))
    parameters = {each["name"] for each in whole["paths"]["/watching"]["get"]["parameters"]}
    assert parameters == {*FILTERS, "first", "after", "total"}
    # Each filter of a question can be asked for.
    assert len(FILTERS) == len(ItemQuery.__slots__) - 1


async def test_what_the_description_promises_is_so(stores: tuple[str, str], tmp_path: Path) -> None:
    tokens = BearerTokens([(Role.READER, READ), (Role.OPERATOR, WRITE)])
    async with layer_at("off", *stores, tmp_path) as layer, port(layer, tokens) as url:
        for kind in KINDS:
            await catalogue_of(layer).create({"type": kind, "id": KNOWN, "shelf": "s", "title": "t"})
        options = (f"--header=Authorization:Bearer {WRITE}", f"--checks={CHECKS}", "--phases=coverage")
        text = await run(url, tmp_path, *options)
        # Every bound of every field and parameter, just kept and just broken: some hundreds of requests.
        generated = re.search(r"(\d+) generated", text)
        assert generated is not None, text
        assert int(generated[1]) > 400, text
