"""The description for people: HTML made of the OpenAPI document, with no script, and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any, Final

POLICY: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
h2{margin-top:2.5rem;font-size:1.1rem}code{background:#f1f1f1;padding:.1em .3em;border-radius:3px}
pre{overflow-x:auto}pre code{display:block;padding:.8em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;
border-bottom:1px solid #ddd}@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}
code{background:#2a2a2a}td,th{border-color:#444}a{color:#8ab4f8}}
"""
_RULES: Final = (
    "The read token looks, the write token changes too; none is needed where none is set. What is marked with "
    "<code>?</code> may be left out. Page after page: <code>after</code> is the last one's <code>nextPageCursor</code>."
)
# $URL is where this page is.
_EXAMPLE: Final = """\
curl -G "$URL/items" -H "Authorization: Bearer $TOKEN" \\
     -d type=Book --data-urlencode search=dune -d startDate=2024-01-01T00:00:00Z \\
     -d minRating=8 -d sortBy=RATING

curl "$URL/items" -H "Authorization: Bearer $TOKEN" \\
     --json '{"type": "Book", "shelf": "Read", "title": "Dune"}'

curl "$URL/graphql" -H "Authorization: Bearer $TOKEN" \\
     --json '{"query": "{ watching(filter: {minRating: 8}) { total items { title } } }"}'
"""


def text(document: dict[str, Any]) -> str:
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        f"<p>{escape(info['description'])}</p>",
        "<p><a href=/openapi.json>openapi.json</a> · <a href=/schema.graphql>schema.graphql</a></p>",
        f"<pre><code>{escape(_EXAMPLE)}</code></pre>",
        f"<p>{_RULES}</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}</h2>")
            rows = [
                (each["name"] + ("" if each["required"] else "?"), _form(each["schema"]), each["description"])
                for each in operation["parameters"]
            ]
            parts.append(_table(("parameter", "form", "meaning"), rows))
            statuses = " ".join(f"<code>{status}</code>" for status in sorted(operation["responses"]))
            parts.append(f"<p>Answers {statuses}</p>")
    problems = {
        status: document["components"]["responses"][answer["$ref"].rpartition("/")[2]]["description"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    }
    rows = [(status, "", about) for status, about in sorted(problems.items())]
    parts.append(f"<h2>Refusals</h2>{_table(('status', '', 'meaning'), rows)}")
    for name, schema in document["components"]["schemas"].items():
        if "description" in schema.get("properties", {}).get("title", {}) and not name.endswith("Patch"):
            rows = [
                (field + ("" if field in schema["required"] else "?"), _form(form), form.get("description", ""))
                for field, form in schema["properties"].items()
                if form is not False
            ]
            parts.append(f"<h2>{escape(name)}</h2>{_table(('field', 'form', 'meaning'), rows)}")
    return "".join(parts) + "</html>\n"


def _table(heads: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{head}" for head in heads)
    body = "".join(f"<tr><td><code>{escape(a)}</code><td>{escape(b)}<td>{escape(c)}" for a, b, c in rows)
    return f"<table><tr>{head}{body}</table>"


def _form(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return _form(schema["anyOf"][0])
    if "const" in schema:
        return f"“{schema['const']}”"
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    form = str(schema.get("format") or schema.get("type", "any"))
    low, high = schema.get("minimum"), schema.get("maximum")
    told = f"{form} {low}–{high}" if low is not None and high is not None else form
    return (
        f"{told}, {schema['default']} if not given" if schema.get("type") == "integer" and "default" in schema else told
    )
