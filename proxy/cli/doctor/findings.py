"""What the doctor has found, and how it is printed. Pure: asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import orjson


class Status(StrEnum):
    """How an answer compares with what Crossfade was built for."""

    OK = "ok"
    DIFFERS = "differs"
    REFUSED = "refused"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `works` says whether Crossfade would work with what was found."""

    check: str
    status: Status
    found: str = ""
    meaning: str = ""
    """What it means for Crossfade; empty where all is as expected."""
    remedy: str = ""
    works: bool = True


@dataclass(slots=True)
class Cost:
    """What the examination cost. `dpu` is what DSQL's EXPLAIN said of the statements that it was asked about."""

    statements: int = 0
    requests: int = 0
    dpu: float | None = None


@dataclass(slots=True)
class DoctorReport:
    """All findings, in the order they were made."""

    findings: list[Finding] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    @property
    def works(self) -> bool:
        return all(each.works for each in self.findings)

    def json(self) -> str:
        document: dict[str, Any] = {
            "works": self.works,
            "findings": [asdict(each) for each in self.findings],
            "cost": asdict(self.cost),
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()

    def text(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        wide = max((len(each.check) for each in self.findings), default=0)
        for each in self.findings:
            yield f"{each.status:<9}  {each.check:<{wide}}  {each.found}".rstrip()
            for name, text in (("means", each.meaning), ("do", each.remedy)):
                if text:
                    yield f"{'':<9}  {'':<{wide}}  {name}: {text}"
        yield ""
        failing = sum(not each.works for each in self.findings)
        yield "Crossfade would work here." if not failing else f"Crossfade would not work here: {failing} of the above."
        dpu = "" if self.cost.dpu is None else f", {self.cost.dpu:.4f} DPU by EXPLAIN for those explained"
        yield f"It cost {self.cost.statements} statements to DSQL{dpu}, and {self.cost.requests} requests to DynamoDB."


def not_asked(checks: Sequence[str], why: str) -> list[Finding]:
    """Findings for checks that nothing could be asked for."""
    return [Finding(check, Status.NOT_ASKED, why) for check in checks]
