"""Runs that are to be verified, and what MLflow is told of it.

Owns which runs of a store a request means, whether what MLflow shows of a run is what its files
come to, and the record of a verification: a run of its own in the experiment `REPRODUCTIONS`, and
tags on the runs that were verified. What a verification does is left to `reproduce/`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult
from bp_pipeline.tracking import format as names
from bp_pipeline.tracking.ended_run import time_before
from bp_pipeline.tracking.failures import TrackingError
from bp_pipeline.tracking.provenance import package_version
from bp_pipeline.tracking.reader import Reader, latest_attempts
from bp_pipeline.tracking.store_tables import Points, Recorded
from bp_pipeline.tracking.writer import Writer

if TYPE_CHECKING:
    import pandas as pd

REPRODUCTIONS = "bp_pipeline/reproductions"
_LEAST_KEPT = 250  # characters of a param, in MLflow's first versions; now there are 6,000
_MOST_LINKS = 20  # in the description, whose length is limited; the table names every run


def disagreement(
    shown: Mapping[str, Any],
    config: RunConfig,
    result: RunResult | None = None,
    points: Points | None = None,
) -> str:
    """Say where MLflow shows something else of a run than its files hold.

    Parameters
    ----------
    shown
        Its params, metrics and tags, as a row of `format.runs_table` or `format.as_row`.
    config, result
        What its files hold; without a result metrics are not compared.
    points
        Every step of its metrics; without them the latest values alone are compared.

    Returns
    -------
    str
        The first disagreement, as a clause; empty where there is none. A digest that another
        version of this package has written may be defined otherwise, and is none.
    """
    same_version = shown.get(names.VERSION) == package_version()
    for key, value in names.shown_params(config).items():
        found = shown.get(key, math.nan)
        if found != found and not same_version:  # which may have had other keys
            continue
        if not (_same(found, value) or _is_cut(found, value)):
            found = "missing" if found != found else found
            return f"MLflow's {key} is {found}, that of config.yaml is {value}"
    if same_version and shown.get(names.CONFIG_DIGEST) != config.config_digest:
        return "config.yaml no longer has the digest that was recorded"
    expected = {} if result is None else names.metric_values(config, result)
    for name, values in expected.items():
        number = [*values.values()][-1] if values else None
        agree = _nearly_same if name in names.ROUNDED else _same
        if not agree(shown.get(name), number):
            return f"MLflow's {name} is {shown.get(name)}, the files come to {number}"
        if points is not None and (problem := _wrong_point(points.get(name, ()), values, agree)):
            return f"MLflow's {name} {problem}"
    return ""


def _wrong_point(
    points: Sequence[tuple[int, float]],
    values: Mapping[int, float],
    agree: Callable[[Any, Any], bool],
) -> str:
    """Say which point of a metric the files do not come to; its ends are always among them."""
    for step, value in points:
        if step not in values or not agree(value, values[step]):
            return f"is {value} at step {step}, the files come to {values.get(step)}"
    absent = {*[*values][:1], *[*values][-1:]} - {step for step, _ in points}
    return f"lacks step {min(absent)}" if absent else ""


def _is_cut(shown: Any, value: Any) -> bool:
    """Whether a param is a long text of which MLflow has kept the beginning."""
    texts = isinstance(shown, str) and isinstance(value, str)
    return texts and len(shown) >= _LEAST_KEPT and value.startswith(shown)


def _same(shown: Any, value: Any) -> bool:
    """Whether two values are equal; in a table NaN stands for none."""
    return bool(shown == value) or (value is None and shown != shown)


def _nearly_same(shown: Any, value: Any) -> bool:
    """Whether two values are equal but for the last digits."""
    numbers = isinstance(shown, float) and isinstance(value, float)
    return _same(shown, value) or (
        numbers and math.isclose(shown, value, rel_tol=1e-12, abs_tol=1e-12)
    )


class RunsToVerify(Reader):
    """The experiment whose runs are to be verified, with what becomes of them."""

    def find(self, run_ids: Sequence[str]) -> list[Recorded]:
        """Find runs by id, in any experiment.

        Raises
        ------
        TrackingError
            Where there is no run of an id, or it is a sweep, or it was deleted.
        """
        return [self._to_verify(run_id) for run_id in dict.fromkeys(run_ids)]

    def of_sweep(self, name: str | None) -> list[Recorded]:
        """Find the runs of a sweep, the newest by default: one a job, whatever its status."""
        found = self.runs_of(self.find_sweep(name).run_id, with_values=True)
        runs = latest_attempts(found)
        return sorted(runs, key=lambda run: (run.name, run.run_id))

    def sample(self, n: int, seed: int) -> list[Recorded]:
        """Draw finished runs, so that consecutive seeds walk through all there are.

        In the order of a hash of their ids, each seed takes the next `n` of the circle: the ids
        themselves begin with the time, and neighbours are of one sweep.
        """
        found = self._find({names.RESULT_DIGEST: None}, with_values=True)
        finished = (run for run in found if run.status == "FINISHED")
        runs = sorted(finished, key=lambda run: sha256(run.run_id.encode()).digest())
        return [runs[(seed * n + i) % len(runs)] for i in range(min(n, len(runs)))]

    def record_reproduction(
        self, name: str, verdicts: Sequence[Mapping[str, Any]], seconds: float
    ) -> str:
        """Record a verification, and tag the runs that were verified.

        Parameters
        ----------
        name
            What was verified, in words.
        verdicts
            Plain values; each has `run_id` (null for what no store holds), `name` and `verdict`.
        seconds
            How long it took.

        Returns
        -------
        str
            Id of the verification's own run, which is FINISHED.

        Raises
        ------
        TrackingError
            Where the store cannot be written.
        """
        with _Verifications.open(self.uri, REPRODUCTIONS) as experiment:
            return experiment.record_verdicts(name, verdicts, seconds)

    def _to_verify(self, run_id: str) -> Recorded:
        run = self.run(run_id)
        if run is None:
            raise TrackingError(
                f"There is no run {run_id!r} in {self.uri}. "
                "Take an id that MLflow shows, or `--sweep` for all runs of one."
            )
        if run.lifecycle_stage != "active":
            raise TrackingError(
                f"Run {run_id} was deleted. Bring it back with "
                f"`mlflow runs restore --run-id {run_id}`."
            )
        if names.N_JOBS in run.tags:
            raise TrackingError(f"Run {run_id} is a sweep. Use `bp reproduce --sweep {run_id}`.")
        return run


class _Verifications(Writer):
    """The experiment in which each verification is a run."""

    def record_verdicts(
        self, name: str, verdicts: Sequence[Mapping[str, Any]], seconds: float
    ) -> str:
        from mlflow.entities import Metric

        now = datetime.now(UTC).isoformat(timespec="seconds")
        stored = [verdict for verdict in verdicts if verdict["run_id"] is not None]
        for verdict in stored:
            self._mark(verdict["run_id"], verdict["verdict"], now)
        counts = Counter({"identical": 0, "drifted": 0, "corrupt": 0, "missing": 0})
        counts.update(verdict["verdict"] for verdict in verdicts)
        metrics = [Metric(key, value, 0, 0) for key, value in counts.items()]
        tags = {**names.source_tags(), names.DESCRIPTION: self._linked(stored)}
        with self._recording(name, tags, time_before(seconds)) as run:
            run_id = str(run.info.run_id)
            self._client.log_batch(run_id, metrics=metrics)
            self._client.log_table(run_id, _table(verdicts), "verdicts.json")
            self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def _mark(self, run_id: str, verdict: str, when: str) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(names.REPRODUCED, verdict), RunTag(names.REPRODUCED_AT, when)]
        with self._writing(f"tag run {run_id}"):
            self._client.log_batch(run_id, tags=tags)

    def _linked(self, stored: Sequence[Mapping[str, Any]]) -> str:
        """Link to the runs in MLflow's UI, those that differ first."""
        first = sorted(stored, key=lambda verdict: verdict["verdict"] == "identical")[:_MOST_LINKS]
        lines = [
            f"- {verdict['verdict']}: [{verdict['name']}]({self._address(verdict['run_id'])})"
            for verdict in first
        ]
        more = len(stored) - len(first)
        return "\n".join([*lines, *([f"- and {more} more, in verdicts.json"] if more else [])])

    def _address(self, run_id: str) -> str:
        run = self.run(run_id)
        assert run is not None  # it was verified
        return f"#/experiments/{run.experiment_id}/runs/{run_id}"


def _table(verdicts: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Make a table of text, because a distance in ulp may not fit into the 64 bits of JSON's."""
    import pandas as pd

    rows = [
        {key: "" if value in (None, {}) else str(value) for key, value in verdict.items()}
        for verdict in verdicts
    ]
    return pd.DataFrame(rows, dtype=object)  # MLflow still asks pandas for columns of objects
