"""The comparison of a sweep, as MLflow's own page writes and reads a saved view."""

import base64
import json
import re
import zlib
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH
from small_runs import DIGEST, small_config, start_sweep

from bp_pipeline.tracking import Writer, run_colours, saved_view

AXES = ["activation", "init", "optimizer.learning_rate"]


def views(writer: Writer, client: MlflowClient) -> dict[str, dict[str, Any] | str]:
    """Return what MLflow's page finds, by the id in the link: an envelope, or only a state."""
    tags = client.get_experiment(writer.experiment_id).tags
    found = {k.removeprefix(saved_view.VIEW_TAG): v for k, v in tags.items() if ".shared" in k}
    return {k: json.loads(v) if v.startswith("{") else v for k, v in found.items()}


def state_of(compressed: str) -> dict[str, Any]:
    kind, _, text = compressed.partition(";")
    assert kind == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(text)))


def test_a_comparison_is_listed_by_a_name_of_its_own(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    assert not writer.has_comparison(parent)
    for n_runs in (240, 12):
        writer.log_comparison(parent, AXES, n_runs)
    assert writer.has_comparison(parent)
    view = views(writer, client)[parent]
    assert isinstance(view, dict)
    assert view["name"] == f"two rates · {parent[:8]}"
    assert view["createdAt"] == client.get_run(parent).info.start_time
    assert view["updatedAt"] >= view["createdAt"]
    state = state_of(view["state"])
    assert state["searchFilter"].startswith(f"tags.`mlflow.parentRunId` = '{parent}'")
    assert state["compareRunSections"][0]["name"] == "All 12 runs"
    columns = [column.partition("`")[2][:-1] for column in state["selectedColumns"]]
    assert columns[: len(AXES)] == AXES


def test_many_axes_fit_into_a_tag(writer: Writer, client: MlflowClient, parent: str) -> None:
    others = [f"a.rather.long.key_{n}" for n in range(60)]
    writer.log_comparison(parent, ["activation", *others, "optimizer.learning_rate"], 12)
    tags = client.get_experiment(writer.experiment_id).tags
    assert len(tags[saved_view.VIEW_TAG + parent]) < MAX_EXPERIMENT_TAG_VAL_LENGTH / 4


def test_the_oldest_sweeps_make_room_in_the_list_and_keep_their_links(
    writer: Writer, client: MlflowClient
) -> None:
    mine = json.dumps({"name": "mine", "createdAt": 0, "updatedAt": 0, "state": "{}"})
    tag = saved_view.VIEW_TAG + "f" * 32
    client.set_experiment_tag(writer.experiment_id, tag, mine)
    ids = [start_sweep(writer, f"sweep {n}", DIGEST) for n in range(25)]
    for n, run_id in enumerate(ids):
        writer.log_comparison(run_id, AXES, n)
    found = views(writer, client)
    assert found["f" * 32] == json.loads(mine)
    listed = [run_id for run_id in ids if isinstance(found[run_id], dict)]
    note = client.get_experiment(writer.experiment_id).tags["mlflow.note.content"]
    linked = re.findall(r"runs/([0-9a-f]{32})\?", note)
    assert [*dict.fromkeys(linked)] == ids[-5:][::-1]
    assert listed == ids[-20:]
    oldest = found[ids[0]]
    assert isinstance(oldest, str)
    assert state_of(oldest)["compareRunSections"][0]["name"] == "All 0 runs"


def test_charts_of_many_runs_show_a_sample_and_the_table_the_best(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    for n_runs, order in ((100, "metrics.`solved/rate`"), (240, "tags.`bp.config_digest`")):
        writer.log_comparison(parent, AXES, n_runs)
        found = views(writer, client)
        view, table = found[parent], found[f"{parent}-table"]
        assert isinstance(view, dict)
        assert isinstance(table, str)
        assert state_of(view["state"])["orderByKey"] == order
        assert state_of(view["state"])["runListHidden"] == (n_runs > saved_view.RUNS_LOADED)
        assert state_of(table)["orderByKey"] == "metrics.`solved/rate`"
        assert state_of(table)["selectedColumns"][0] == "metrics.`solved/rate`"


def test_runs_of_different_sizes_are_ordered_as_the_report_ranks_them(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    writer.log_comparison(parent, [*AXES[:2], "replicates", AXES[2]], 12)
    view = views(writer, client)[parent]
    assert isinstance(view, dict)
    assert state_of(view["state"])["orderByKey"] == "metrics.`solved/rate_low`"


def test_a_description_of_the_experiment_that_is_a_users_stays(
    writer: Writer, client: MlflowClient, parent: str
) -> None:
    client.set_experiment_tag(writer.experiment_id, "mlflow.note.content", "mine")
    writer.log_comparison(parent, AXES, 12)
    assert client.get_experiment(writer.experiment_id).tags["mlflow.note.content"] == "mine"


def colours(keys: str, *values: str) -> list[str | None]:
    return run_colours([small_config(**dict(zip(keys.split(), v.split(), strict=True)))
                        for v in values])  # fmt: skip


def test_runs_have_the_colour_of_their_activation() -> None:
    tanh, relu, again = colours("activation init", "tanh ones", "relu ones", "tanh normal")
    assert tanh == again != relu
    assert {tanh, relu} <= {*saved_view.COLOURS}


def test_without_activations_the_init_decides_and_else_what_varies() -> None:
    ones, normal = colours("activation init", "tanh ones", "tanh normal")
    assert ones != normal
    first, second = run_colours([small_config({"seed": seed}) for seed in (1, 2)])
    assert first != second


@pytest.mark.parametrize("n", [1, len(saved_view.COLOURS) + 1])
def test_nothing_to_tell_apart_or_too_much_has_no_colours(n: int) -> None:
    assert run_colours([small_config({"seed": seed}) for seed in range(n)]) == [None] * n
