"""The comparison of a sweep in MLflow's UI: which runs, columns and charts, and where to find it.

Owns the format of a shared view, in which MLflow's page of an experiment keeps what it shows: JSON
in a tag of the experiment, named by the key in the link. MLflow does not document it; the browser
tests hold it against the installed version. Writing the tag is `tracker.py`'s.
"""

import json
from collections.abc import Sequence
from typing import Any

VIEW_TAG = "mlflow.sharedViewState."
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # for MLflow before 3.12

LEARNING_RATE = "optimizer.learning_rate"
LOG_LEARNING_RATE = f"{LEARNING_RATE}/log10"  # a metric, since a param's axis is never logarithmic
_RATE = "converged/rate"
_COLUMNS = (_RATE, "epochs_to_converge/median", "final_loss/median")
_MOST_AXES = 8  # besides the learning rate: a tag has at most 5,000 characters
RUNS_LOADED = 100  # at a time, by MLflow's page

_CHARTS, _SIDE_BY_SIDE, _OTHERS = "charts", "side-by-side", "others"  # ids of sections
_COLUMN_WIDTH = 96  # pixels, so that six columns fit a laptop's screen beside MLflow's panels
# In log10 of nats: nobody compares losses beyond ten nats or below 1e-5.
_LOSS_RANGE = {"yMin": -5, "yMax": 1}
_NOT_COMPARED = (  # metrics that would otherwise get charts of their own
    *_COLUMNS,
    LOG_LEARNING_RATE,
    "converged/rate_low",
    "converged/rate_high",
    "stalled/rate",
    "diverged/rate",
    "loss/p10",
    "loss/p90",
    "gradient_norm/median",
    "weight_norm/median",
)


def view(parent_run_id: str, axes: Sequence[str], n_runs: int) -> str:
    """Describe what MLflow's page is to show of a sweep, in its own terms.

    Parameters
    ----------
    parent_run_id
        The sweep, whose finished runs are shown, those that converge most first.
    axes
        Config keys that span the sweep's grid, the learning rate last.
    n_runs
        How many finished runs it has.
    """
    axes = [*axes[:-1][:_MOST_AXES], LEARNING_RATE]
    columns = [f"params.`{key}`" for key in axes] + [f"metrics.`{name}`" for name in _COLUMNS]
    state = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent_run_id}' "
        "AND attributes.status = 'FINISHED'",
        "orderByKey": f"metrics.`{_RATE}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns, "runDateAndNestInfo", "duration"],
        "columnWidths": dict.fromkeys(columns, _COLUMN_WIDTH),
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": _sections(n_runs),
        "compareRunCharts": _charts(axes),
        "isAccordionReordered": True,  # the sections stay in this order
    }
    return json.dumps(state, ensure_ascii=False, separators=(",", ":"))


def links(experiment_id: str, parent_run_id: str) -> dict[str, str]:
    """Give the addresses of a sweep's pages within MLflow's UI, each with what it shows."""
    experiment = f"#/experiments/{experiment_id}/runs"
    model_training = "workflowType=machine_learning"  # not GenAI, which is where MLflow 3 begins
    shared = f"{experiment}?viewStateShareKey={parent_run_id}&{model_training}"
    return {
        "charts": f"{shared}&compareRunsMode=CHART",
        "table": f"{shared}&compareRunsMode=TABLE",
        "sweep": f"{experiment}/{parent_run_id}?{model_training}",
        "report": f"{experiment}/{parent_run_id}/artifacts/report/report.html?{model_training}",
    }


def _sections(n_runs: int) -> list[dict[str, Any]]:
    names = {
        _CHARTS: f"All {n_runs} runs"
        if n_runs <= RUNS_LOADED
        else f"Best {RUNS_LOADED} of {n_runs}",
        _SIDE_BY_SIDE: "Side by side, best first",
        _OTHERS: "Other metrics",
    }
    layouts = {
        _CHARTS: {"columns": 2, "cardHeight": 340},
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
