"""The comparison of a sweep in MLflow's UI: which runs, columns, charts and colours, and its links.

Owns the format of a saved view, in which MLflow's page of an experiment keeps what it shows: JSON
in a tag of the experiment, named by the key in the link. MLflow does not document it; the browser
tests hold it against the installed version. Writing the tags is left to `writer.py`.
"""

import base64
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bp_pipeline.config.run_names import ALWAYS, varied_keys
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.tracking.format import LOG_LEARNING_RATE, METRICS

if TYPE_CHECKING:
    from mlflow.entities import Run

VIEW_TAG = "mlflow.sharedViewState."
COLOURS = (  # that can be told apart, also by those who see red and green alike
    "#3f3fae", "#1b9e77", "#d95f02", "#e6ab02", "#b4508b", "#1f9bd1", "#7a7a7a", "#8c510a",
)  # fmt: skip

_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # not GenAI
_MOST_LISTED = 20  # sweeps in the Views menu, which takes no view of a user's own beyond 40
_RATE = "solved/rate"
_COLUMNS = (_RATE, "epochs_to_converge/median", "final_loss/median")
RUNS_LOADED = 100  # at a time, by MLflow's page

_CHARTS, _SIDE_BY_SIDE, _OTHERS = "charts", "side-by-side", "others"  # ids of sections
_NAME, _NAME_WIDTH = "attributes.`Run Name`", 290  # pixels, so that a name is read to its end
_CREATED, _STATUS_WIDTH = "runDateAndNestInfo", 48  # of which the mark of its status is enough
_SAMPLED = "tags.`bp.config_digest`"  # any order but the grid's
_TABLE = "-table"  # a view's id ends in it
_NOTE, _TITLE = "mlflow.note.content", "Newest sweeps: "
_MOST_LINKED = 5
_COLUMN_WIDTH = 96  # pixels, so that six columns fit a laptop's screen beside MLflow's panels
# In log10 of nats: nobody compares losses beyond ten nats or below 1e-5.
_LOSS_RANGE = {"yMin": -5, "yMax": 1}
# Metrics that would otherwise get charts of their own.
_NOT_COMPARED = [name for name in METRICS if name not in ("loss/median", "converged/fraction")]


def run_colours(configs: Sequence[RunConfig]) -> list[str | None]:
    """Choose a colour for the runs of each activation, or else of each value of what varies.

    Returns
    -------
    list
        A colour for each run, as in HTML; None where nothing varies, or too many values would have
        to be told apart.
    """
    params = [config.params() for config in configs]
    varied = varied_keys(params)
    key = next((key for key in [*ALWAYS[:2], *varied] if key in varied), "")
    values = [str(run.get(key)) for run in params]
    colours = dict(zip(dict.fromkeys(values), COLOURS, strict=False))
    if not key or len(colours) < len(set(values)):
        return [None] * len(configs)
    return [colours[value] for value in values]


def tags(
    experiment_id: str, parent: "Run", axes: Sequence[str], n_runs: int, known: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags of the experiment with which MLflow's page shows and lists a sweep.

    Where not all runs are loaded, charts show a sample of them, so that what never learns is seen,
    and the table begins with the best.

    Parameters
    ----------
    experiment_id
        MLflow's.
    parent
        The sweep, whose finished runs are shown.
    axes
        Config keys that span the sweep's grid, the learning rate last.
    n_runs
        How many finished runs it has.
    known
        The experiment's tags as they are. Of sweeps that are too many to be listed, the oldest are
        left out of the list; their links go on working.
    """
    run_id = parent.info.run_id
    is_sample = n_runs > RUNS_LOADED
    best_first = f"metrics.`{_RATE}{'_low' if 'replicates' in axes else ''}`"
    view = {
        "name": f"{parent.info.run_name}{_mark(VIEW_TAG + run_id)}",
        "createdAt": parent.info.start_time,
        "updatedAt": int(time.time() * 1000),
        "state": _packed(_state(run_id, axes, n_runs, _SAMPLED if is_sample else best_first)),
    }
    listed = {VIEW_TAG + run_id: json.dumps(view, ensure_ascii=False)}
    views = {**known, **listed}
    # A view without a name is found by its link alone.
    state = _for_small_screens(_state(run_id, axes, n_runs, best_first))
    table = {VIEW_TAG + run_id + _TABLE: _packed(state)}
    note = {_NOTE: _description(experiment_id, views)} if _is_ours(known.get(_NOTE, "")) else {}
    return {**_EXPERIMENT_TAGS, **_unlisted(views), **listed, **table, **note}


def _packed(state: Mapping[str, Any]) -> str:
    text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
    return "deflate;" + base64.b64encode(zlib.compress(text.encode())).decode()


def _is_ours(note: str) -> bool:
    """Whether a description of the experiment is ours or none, and not a user's own."""
    return not note or note.startswith(_TITLE)


def _description(experiment_id: str, views: Mapping[str, str]) -> str:
    """Link to the pages of the newest sweeps, because MLflow opens on a page without runs."""
    lines = []
    for key, view in _listed_views(views)[:_MOST_LINKED]:
        pages = page_links(experiment_id, key.removeprefix(VIEW_TAG))
        shown = {"charts": "charts", "table": "table", "report": "report"}
        links = " · ".join(f"[{text}]({pages[page]})" for page, text in shown.items())
        lines.append(f"[{view['name']}]({pages['sweep']}) ({links})")
    return _TITLE + "\n\n".join(lines)  # MLflow shows the first line until it is unfolded


def _unlisted(known: Mapping[str, str]) -> dict[str, str]:
    """Reduce the oldest views of sweeps to what they show, without the name that lists them."""
    return {key: view["state"] for key, view in _listed_views(known)[_MOST_LISTED:]}


def _listed_views(known: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Return our views that have a name, the newest sweep's first."""
    found = {key: value for key, value in known.items() if value.startswith('{"name"')}
    views = {key: json.loads(value) for key, value in found.items() if key.startswith(VIEW_TAG)}
    ours = [(key, view) for key, view in views.items() if view["name"].endswith(_mark(key))]
    return sorted(ours, key=lambda pair: pair[1]["createdAt"], reverse=True)


def _mark(key: str) -> str:
    """Return how the name of a sweep's view ends, other than that of a user's own."""
    return f" · {key.removeprefix(VIEW_TAG)[:8]}"


def page_links(experiment_id: str, parent_run_id: str) -> dict[str, str]:
    """Return the addresses of a sweep's pages within MLflow's UI, by what they show."""
    experiment = f"#/experiments/{experiment_id}/runs"
    model_training = "workflowType=machine_learning"  # not GenAI, which is where MLflow 3 begins
    shared = f"{model_training}&viewStateShareKey={parent_run_id}"
    return {
        "charts": f"{experiment}?{shared}&compareRunsMode=CHART",
        "table": f"{experiment}?{shared}{_TABLE}&compareRunsMode=TABLE",
        "sweep": f"{experiment}/{parent_run_id}?{model_training}",
        "report": f"{experiment}/{parent_run_id}/artifacts/report/report.html?{model_training}",
    }


def _state(parent_run_id: str, axes: Sequence[str], n_runs: int, order: str) -> dict[str, Any]:
    """Describe what MLflow's page is to show of a sweep, in its own terms."""
    columns = [f"params.`{key}`" for key in axes] + [f"metrics.`{name}`" for name in _COLUMNS]
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent_run_id}' "
        "AND attributes.status = 'FINISHED'",
        "orderByKey": order,
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [_NAME, *columns, _CREATED, "duration"],
        "columnWidths": {_NAME: _NAME_WIDTH, **dict.fromkeys(columns, _COLUMN_WIDTH)},
        "runsHiddenMode": "SHOW_ALL",
        # Beside charts its width is fixed, and too small for names. A sample is no list to choose
        # from; who wants it opens it at its edge. The table has it all.
        "runListHidden": n_runs > RUNS_LOADED,
        "compareRunSections": _sections(n_runs),
        "compareRunCharts": _charts(axes),
        "isAccordionReordered": True,  # the sections stay in this order
    }


def _for_small_screens(state: Mapping[str, Any]) -> dict[str, Any]:
    """Put measures first: a run's name has its params, which may stand off the screen."""
    columns = sorted(state["selectedColumns"], key=lambda column: column.startswith("params."))
    return {
        **state,
        "selectedColumns": columns,
        "columnOrder": [_NAME, _CREATED, *columns, "duration"],
        "columnWidths": {**state["columnWidths"], _CREATED: _STATUS_WIDTH},
    }


def _sections(n_runs: int) -> list[dict[str, Any]]:
    names = {
        _CHARTS: f"All {n_runs} runs"
        if n_runs <= RUNS_LOADED
        else f"Sample: {RUNS_LOADED} of {n_runs}",
        _SIDE_BY_SIDE: "Side by side, best first",
        _OTHERS: "Other metrics",
    }
    layouts = {
        _CHARTS: {"columns": 1, "cardHeight": 360},  # so that the names of axes fit
        _SIDE_BY_SIDE: {"columns": 1, "cardHeight": 800},
    }
    return [
        {
            "uuid": section,
            "name": name,
            "display": section != _OTHERS,  # unfolded
            "isReordered": True,
            **layouts.get(section, {}),
        }
        for section, name in names.items()
    ]


def _charts(axes: Sequence[str]) -> list[dict[str, Any]]:
    """Describe the charts; those of the other metrics are folded away."""
    charts: list[dict[str, Any]] = [
        {
            "type": "SCATTER",
            "xaxis": _metric(LOG_LEARNING_RATE),
            "yaxis": _metric(_RATE),
            "runsCountToCompare": 1000,
        },
        _curves("loss/median", xAxisScaleType="log", scaleType="log", range=_LOSS_RANGE),
        {
            "type": "PARALLEL",
            "selectedParams": axes[:-1],
            "selectedMetrics": [LOG_LEARNING_RATE, _RATE],
            "showAllRuns": True,
        },
        _curves("converged/fraction", xAxisScaleType="log", scaleType="linear"),
        {
            "type": "DIFFERENCE",
            "chartName": "Runs side by side",
            "compareGroups": ["Parameters", "Model metrics"],
            "showChangeFromBaseline": False,
            "showDifferencesOnly": True,
            "baselineColumnUuid": "",
            "metricSectionId": _SIDE_BY_SIDE,
        },
        *({"type": "BAR", "metricKey": name, "metricSectionId": _OTHERS} for name in _NOT_COMPARED),
    ]
    return [{"metricSectionId": _CHARTS, "uuid": f"{n}", **chart} for n, chart in enumerate(charts)]


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}


def _curves(metric: str, **scales: Any) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "lineSmoothness": 0,
        "displayPoints": False,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
        **scales,
    }
