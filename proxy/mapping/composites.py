"""Attributes made of others: `"type:id" = "{type}:{id}"`.

A template's literals separate its parts at their first occurrence, so that parsing and rendering are inverse on every
text that parses: `Book:a:b` is type `Book`, id `a:b`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from proxy.dynamodb.values import Item

_TEMPLATE: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Composite:
    """One template. `parts` are the attributes in order, `literals` what stands between them."""

    template: str
    parts: tuple[str, ...]
    literals: tuple[str, ...]
    _steps: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    """Each part with what comes after it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_steps", tuple(zip(self.parts, (*self.literals, ""), strict=True)))

    @classmethod
    def from_template(cls, template: str) -> Composite:
        """Raises ValueError for a template that cannot be parsed back: each part once, with a literal between them."""
        pieces = _TEMPLATE.split(template)
        parts, literals = tuple(pieces[1::2]), tuple(pieces[2:-1:2])
        if not parts or pieces[0] or pieces[-1] or not all(literals):
            raise ValueError(f'{template!r} must be parts in braces with text between them, like "{{type}}:{{id}}"')
        if len(set(parts)) < len(parts):
            raise ValueError(f"{template!r} names a part twice; name each part once")
        return cls(template, parts, literals)

    def render(self, item: Item) -> str | None:
        """The composite's text, or None where a part is missing or is neither string nor number.

        A part after which the literal would be found too early would parse back differently, so it does not render.
        """
        rendered = ""
        for part, literal in self._steps:
            value = item.get(part)
            text = None if value is None else value.get("S", value.get("N"))
            if text is None:
                return None
            more = text + literal
            # Not just `in text`: a part's end and the literal's beginning can make the literal between them.
            if literal and more.find(literal) < len(text):
                return None
            rendered += more
        return rendered

    def parse(self, text: str) -> dict[str, str] | None:
        """The parts of a text, or None if it does not have the template's form."""
        texts = []
        for literal in self.literals:
            head, found, text = text.partition(literal)
            if not found:
                return None
            texts.append(head)
        return dict(zip(self.parts, (*texts, text), strict=True))
