"""What can be chosen at the top of every dashboard: where to look, at which proxies, tables, types and operations."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as models

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="$datasource")


def variables() -> list[Any]:
    def of(name: str, label: str, metric: str, *, all_value: str | None) -> Any:
        variable = (
            build.QueryVariable(name)
            .label(name)
            .datasource(SOURCE)
            .query({"query": f"label_values({metric}, {label})", "refId": name})
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        )
        # `.*` also finds series without the label: of a table as a whole.
        return variable.all_value(all_value) if all_value is not None else variable

    source = build.DatasourceVariable("datasource").label("data source").type("prometheus")
    return [
        source,
        of("instance", "instance", "crossfade_epoch", all_value=".+"),
        of("table", "table", "crossfade_stage", all_value=".*"),
        of("type", "type", 'crossfade_stage{table=~"$table"}', all_value=".*"),
        of("operation", "operation", "crossfade_proxy_seconds_count", all_value=".+"),
    ]
