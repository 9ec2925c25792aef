"""Panels, variables and annotations in one style, so that a dashboard reads as a list of what it shows.

Grafana's rules for dashboards that are given to others hold for every part (the public dashboard-linter's): the data
source is a variable, every panel has a title, a description and a unit, ranges are `$__rate_interval`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.variables import SOURCE, variables

EVERY: Final = "$__rate_interval"
RANGE: Final = "$__range"
WHOLE: Final = 24

HERE: Final = 'instance=~"$instance"'
PLACE: Final = f'{HERE}, table=~"$table", type=~"$type"'
CALL: Final = f'{HERE}, operation=~"$operation"'
COMPARED: Final = f'{PLACE}, operation=~"$operation"'

GREEN, RED, AMBER, BLUE, GREY = "green", "red", "orange", "blue", "#8e8e8e"
# Each store has its colour wherever it has a line: that of the stages in which it is the authority.
STORE_COLOURS: Final = {"dynamodb": BLUE, "dsql": GREEN}
STATUS_COLOURS: Final = {"/ ?2..$/": GREEN, "/ ?4..$/": AMBER, "/ ?5..$/": RED}
LIMIT: Final = "limit"
STAGES: Final = ("off", "dualwrite", "shadow", "live", "rampdown", "complete")
STAGE_COLOURS: Final = (GREY, "light-blue", BLUE, GREEN, "semi-dark-green", "purple")


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL and what its series are called. `now` asks for the newest value only."""

    expr: str
    legend: str = ""
    now: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click on a series leads; in a table, on which column."""

    title: str
    url: str
    column: str = ""


Steps = Sequence[tuple[float | None, str]]
Words = Mapping[int, tuple[str, str]]
"""A number to a word and its colour."""


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    bars: bool = False,
    logarithmic: bool = False,
    limits: Steps = (),
    colours: Mapping[str, str] | None = None,
    highest: float | None = None,
    lowest: float = 0,
    least_first: bool = False,
    nothing: str = "no data",
    link: Link | None = None,
) -> Any:
    """Numbers over time. `limits` draws a line where a colour begins; `nothing` is said where there is no series.

    `bars` is for what is rare: a line from one occurrence to the next would say that it went on between them. The names
    of `colours` may be regular expressions, /so/; a series called `limit` is dashed. Legends scroll, so they begin with
    the highest, or with the least.
    """
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(60 if bars else 25 if stacked else 0)
        .show_points(common_models.VisibilityMode.AUTO)
        .axis_soft_min(lowest)
        .no_value(nothing)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "min" if least_first else "max"])
            .sort_by("Min" if least_first else "Max")
            .sort_desc(not least_first)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    if bars:
        panel.draw_style(common_models.GraphDrawStyle.BARS)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if logarithmic:
        panel.scale_distribution(common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10))
    if limits:
        panel.thresholds(_thresholds(limits))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED))
    if highest is not None:
        panel.max(highest)
    for name, colour in (colours or {}).items():
        values = [models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})]
        if name == LIMIT:
            values.append(models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [6, 6]}))
        (panel.override_by_regexp if name.startswith("/") else panel.override_by_name)(name, values)
    return _filled(panel, title, description, unit, queries, width, height, link)


def numbers(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    height: int = 4,
    steps: Steps = ((None, GREEN),),
    words: Words | None = None,
    nothing: str = "no data",
    decimals: int | None = None,
    link: Link | None = None,
) -> Any:
    """The newest value of each series, large. `nothing` is what stands where there is none."""
    panel = (
        stat.Panel()
        .thresholds(_thresholds(steps))
        .color_mode(common_models.BigValueColorMode.BACKGROUND)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .text_mode(
            common_models.BigValueTextMode.VALUE_AND_NAME
            if any(each.legend for each in queries)
            else common_models.BigValueTextMode.VALUE
        )
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value(nothing)
    )
    if words:
        panel.mappings(_words(words))
    if decimals is not None:
        panel.decimals(decimals)
    return _filled(panel, title, description, unit, queries, width, height, link)


def states(title: str, description: str, words: Words, *queries: Query, width: int = 12, height: int = 8) -> Any:
    """A number that stands for a word, over time."""
    panel = (
        statetimeline.Panel()
        .mappings(_words(words))
        .show_value(common_models.VisibilityMode.AUTO)
        .row_height(0.8)
        .merge_values(True)
        .fill_opacity(80)
        .line_width(0)
        .color_scheme(build.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    )
    return _filled(panel, title, description, "none", queries, width, height)


def rows(
    title: str,
    description: str,
    unit: str,
    query: Query,
    columns: Mapping[str, str],
    *,
    value: str | None = None,
    words: Words | None = None,
    broad: str = "",
    order: str = "",
    width: int = 12,
    height: int = 8,
    nothing: str = "nothing",
    link: Link | None = None,
) -> Any:
    """A table of what there is now: `columns` are labels and their headings, in order; `value` heads the number, which
    `words` says in words. `broad` is the column that must be read whole, `order` the one that rows are sorted by."""
    shown = {**columns, **({"Value": value} if value is not None else {})}
    hidden = {"Time": True, **({} if value is not None else {"Value": True})}
    panel = (
        table.Panel()
        .cell_height(common_models.TableCellHeight.SM)
        .no_value(nothing)
        .min_width(70)
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": hidden,
                    "indexByName": {name: place for place, name in enumerate(shown)},
                    "renameByName": dict(shown),
                },
            )
        )
    )
    if order:
        panel.sort_by([common.TableSortByFieldState().display_name(order)])
    for heading in columns.values():
        # Grafana writes `nothing` into each empty cell too, as into that of a table's type.
        values = [models.DynamicConfigValue(id_val="noValue", value="–")]
        if link is not None and heading == link.column:
            to = {"title": link.title, "url": link.url, "targetBlank": True}
            values.append(models.DynamicConfigValue(id_val="links", value=[to]))
        if heading == broad:
            values.append(models.DynamicConfigValue(id_val="custom.width", value=150))
        panel.override_by_name(heading, values)
    if words:
        panel.mappings(_words(words))
        coloured = models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background"})
        panel.override_by_name(str(value), [coloured])
    return _filled(panel, title, description, unit, (query,), width, height, as_table=True)


def section(title: str) -> build.Row:
    """A heading; what follows it stands under it."""
    return build.Row(title)


def board(uid: str, title: str, description: str, *parts: Any) -> dict[str, Any]:
    """A whole dashboard as the JSON that Grafana reads."""
    whole = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["crossfade"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(
            build.DashboardLink("Crossfade")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["crossfade"])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(
            build.AnnotationQuery()
            .name("Stage changes")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("purple")
            .expr(STAGE_CHANGES)
        )
    )
    for variable in variables():
        whole.with_variable(variable)
    for part in parts:
        if isinstance(part, build.Row):
            whole.with_row(part)
        else:
            whole.with_panel(part)
    document: dict[str, Any] = _plain(whole.build())
    for number, each in enumerate(document["panels"], 1):
        each["id"] = number
    for each in document["annotations"]["list"]:
        # What the SDK's model of an annotation has no field for; Grafana's Prometheus data source reads them.
        each |= {"titleFormat": "{{table}} {{type}} is in {{stage}}", "step": "15s"}
    return document


# In a stage now, in another one a minute ago, and known then: a proxy that starts is no change.
STAGE_CHANGES: Final = (
    f"max by (table, type, stage) (crossfade_stage{{{PLACE}}} == 1)"
    f" unless max by (table, type, stage) (crossfade_stage{{{PLACE}}} offset 1m == 1)"
    f" and on (table, type) max by (table, type) (crossfade_stage{{{PLACE}}} offset 1m == 1)"
)


def risen(by: str, counter: str, window: str) -> str:
    """PromQL for how much a counter has risen. A series that began within the window has risen by all it has: one that
    begins at 1 shows no `increase`, and would hide the first of what is rare."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (({counter} unless {counter} offset {window}) or increase({counter}[{window}]))"


def stage_numbers(by: str) -> str:
    """PromQL for the number of each place's stage: 0 is `off`, 5 is `complete`."""
    each = [f'(crossfade_stage{{{PLACE}, stage="{name}"}} == 1) * {number}' for number, name in enumerate(STAGES)]
    return f"max by ({by}) ({' or '.join(each)})"


def stage_words() -> Words:
    return dict(enumerate(zip(STAGES, STAGE_COLOURS, strict=True)))


def _filled(
    panel: Any,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    width: int,
    height: int,
    link: Link | None = None,
    *,
    as_table: bool = False,
) -> Any:
    panel.title(title).description(description).unit(unit).datasource(SOURCE).span(width).height(height)
    for number, each in enumerate(queries):
        query = (
            prometheus.Dataquery()
            .datasource(SOURCE)
            .expr(each.expr)
            .ref_id("ABCDEFGH"[number])
            .legend_format(each.legend or "__auto")
        )
        query = query.instant() if each.now or as_table else query.range()
        panel.with_target(query.format(PromQueryFormat.TABLE) if as_table else query)
    if link is not None:
        panel.data_links([build.DashboardLink(link.title).url(link.url).target_blank(True)])
    return panel


def _thresholds(steps: Steps) -> build.ThresholdsConfig:
    listed = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(listed)


def _words(words: Words) -> list[models.ValueMapping]:
    options = {
        str(number): models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (number, (text, colour)) in enumerate(words.items())
    }
    return [models.ValueMap(options=options)]


def _plain(value: Any) -> Any:
    """As JSON has it: the SDK's models say by themselves what they are in JSON, one level at a time."""
    if hasattr(value, "to_json"):
        return _plain(value.to_json())
    if isinstance(value, dict):
        # A threshold's first step has the value null: it holds from below everything.
        return {key: _plain(inner) for key, inner in value.items() if inner is not None or key == "value"}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return getattr(value, "value", value)
