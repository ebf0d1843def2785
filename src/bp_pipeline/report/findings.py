"""What a sweep comes to: its tables, each made once, and the sentences that say what they show."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from bp_pipeline.config import RunConfig
from bp_pipeline.report import tables
from bp_pipeline.report.statistics import Survival
from bp_pipeline.report.sweep_data import LEARNING_RATE, Sweep
from bp_pipeline.report.tables import (
    ALPHA,
    DETERMINISTIC,
    DIVERGED,
    FINAL_LOSS,
    HIGH,
    LOW,
    MEDIAN,
    RATE,
)
from bp_pipeline.report.text import (
    count,
    listing,
    loss,
    percent,
    percent_interval,
    plain,
    plural,
)

SHORT = {LEARNING_RATE: "learning rate", "optimizer.momentum": "momentum"}


@dataclass(frozen=True)
class Findings:
    """The tables of a sweep and the sentences drawn from them."""

    sweep: Sweep

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a run."""
        return tables.summary(self.sweep)

    @cached_property
    def best(self) -> pd.DataFrame:
        """The best learning rate of each setting."""
        return tables.best_learning_rates(self.sweep, self.summary)

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The runs whose curves are drawn: each setting at its best, or all where there is one."""
        one_setting = len(self.summary[self.sweep.settings].drop_duplicates()) < 2
        keys = self.sweep.axes if one_setting else self.sweep.settings
        return self._with_run_ids(tables.best(self._ranked, keys))

    @property
    def _ranked(self) -> pd.DataFrame:
        return self.summary.loc[tables.ranked(self.sweep.finished).index]

    @cached_property
    def survivals(self) -> Mapping[str, Survival | None]:
        """Share not yet converged of each run that is shown."""
        return dict(tables.survivals(self.sweep, self.shown["run_id"].tolist()))

    @cached_property
    def factors(self) -> pd.DataFrame:
        """How much each factor matters."""
        return tables.factors(self.sweep, self.summary)

    @cached_property
    def activations(self) -> pd.DataFrame:
        """Tests between activations."""
        return tables.comparisons(self.sweep, "activation")

    @cached_property
    def inits(self) -> pd.DataFrame:
        """Tests between inits."""
        return tables.comparisons(self.sweep, "init")

    @cached_property
    def top(self) -> pd.Series:
        """The best run of all, with its id."""
        return self._with_run_ids(tables.best(self._ranked, [])).iloc[0]

    @cached_property
    def config(self) -> RunConfig | None:
        """Config of the best run, for what all runs share."""
        return self.sweep.config(self.top["run_id"])

    @property
    def nothing_converged(self) -> bool:
        """Whether no network of any run did."""
        return not (self.summary[RATE] > 0).any()

    def place(self, row: pd.Series) -> str:
        """Say where a run stands in the grid."""
        settings = [
            plain(row[key]) if key in self.sweep.axes[:2] else f"{name_of(key)} {plain(row[key])}"
            for key in self.sweep.axes
        ]
        return f"{settings[0]} with {settings[1]}" + "".join(f", {part}" for part in settings[2:])

    def sentences(self) -> list[str]:
        """Say what came out and what was asked, in a few sentences."""
        if self.summary.empty:
            return [self.came_out()]
        return [
            part
            for part in (
                self.came_out(),
                self.asked(),
                self.criterion(),
                self.winner(),
                self.luck(),
            )
            if part
        ]

    def asked(self) -> str:
        """Say what was asked."""
        axes = [
            f"{number} {_many(name_of(axis), number)}"
            for axis in self.sweep.axes
            if (number := self.summary[axis].nunique(dropna=False)) > 1
        ]
        grid = f": {' × '.join(axes)}" if axes else ""
        return f"{plural(self.sweep.n_jobs, 'run')} {_were(self.sweep.n_jobs)} asked for{grid}."

    def criterion(self) -> str:
        """Say what was trained and when it counts as converged."""
        config = self.config
        if config is None:
            return ""
        axes = set(self.sweep.axes)
        task = "the tasks" if "task" in axes else config.params()["task"]
        sizes = "" if _is_in("network", axes) else f"{'-'.join(map(str, config.layer_sizes))} "
        training = config.training
        epochs = "" if "training.epochs" in axes else f" for {plural(training.epochs, 'epoch')}"
        within = "the tolerance" if "training.tolerance" in axes else f"{training.tolerance:g}"
        return (
            f"Each run trains {sizes}networks on {task}{epochs}; a network has converged at the "
            f"first epoch at which every output is within {within} of its target."
        )

    def came_out(self) -> str:
        """Say how much finished, and how the networks ended."""
        asked = self.sweep.n_jobs
        done = min(asked, int((self.sweep.runs["status"] == "FINISHED").sum()))
        finished = f"{count(done)} of {plural(asked, 'run')} finished"
        if self.summary.empty:
            return f"{finished}, so there is nothing to report."
        if done == asked:
            finished = f"All {count(asked)} runs finished" if asked > 1 else "The run finished"
        n = self.sweep.finished["replicates"].astype(float)
        shares = [(n * self.summary[name]).sum() / n.sum() for name in _OUTCOMES]
        ends = [
            f"{percent(share)} % {name}"
            for share, name in zip(shares, _OUTCOMES.values(), strict=True)
            if share > 0
        ]
        return f"{finished}; of {plural(int(n.sum()), 'network')}, {listing(ends)}."

    def winner(self) -> str:
        """Name the best run."""
        if self.nothing_converged:
            return "No network converged, at any place of the grid."
        top = self.top
        speed = "" if pd.isna(top[MEDIAN]) else f", half of them by epoch {count(top[MEDIAN])}"
        if top[DETERMINISTIC]:
            return f"Best is {self.place(top)}, whose one network, drawn from nothing, converged."
        rate = f"{percent(top[RATE])} % converged"
        interval = percent_interval(top[LOW], top[HIGH])
        return f"Best is {self.place(top)}: {rate} (95 % interval {interval} %){speed}."

    def luck(self) -> str:
        """Say how the best run would do on other replicates than those it was chosen on."""
        halved = tables.best_of_halves(self.sweep)
        if self.nothing_converged or halved is None:
            return ""
        interval = percent_interval(halved[LOW], halved[HIGH])
        return (
            f"The best of {count(len(self.summary))} is partly the luckiest: chosen on the even "
            f"replicates alone, it is {self.place(halved)}, and {percent(halved[RATE])} % of the "
            f"odd ones converge ({interval} %)."
        )

    def rates(self) -> str:
        """Say how far each activation comes at its best."""
        if self.nothing_converged:
            return "Nothing converges anywhere."
        best = self.summary.groupby("activation")[RATE].max()
        best = best.sort_values(ascending=False, kind="stable")
        able = [f"{name} to {percent(rate)} %" for name, rate in best.items() if rate > 0]
        unable = [str(name) for name, rate in best.items() if rate == 0]
        never = f"; {listing(unable)} never" if unable else ""
        return f"The best settings bring {listing(able)} convergence{never}."

    def speed(self) -> str:
        """Say who is fastest to half."""
        rows = self.shown.dropna(subset=[MEDIAN]).sort_values(MEDIAN, kind="stable")
        if rows.empty:
            return "Nowhere have half of the networks converged."
        first, last = rows.iloc[0], rows.iloc[-1]
        text = (
            f"Half of the networks have converged by epoch {count(first[MEDIAN])} at the earliest"
        )
        text += f" ({self.place(first)})"
        if len(rows) == 1:
            return f"{text}."
        return f"{text}, and by epoch {count(last[MEDIAN])} at the latest ({self.place(last)})."

    def losses(self) -> str:
        """Say where the median loss ends, and how often training diverges."""
        rows = self.shown.dropna(subset=[FINAL_LOSS]).sort_values(FINAL_LOSS, kind="stable")
        if rows.empty:
            return "In every run at least half of the networks diverge."
        lowest = rows.iloc[0]
        text = f"The lowest median loss is {loss(lowest[FINAL_LOSS])} nats ({self.place(lowest)})"
        diverged = int((self.summary[DIVERGED] >= 0.5).sum())
        most = f"; in {plural(diverged, 'run')} at least half of the networks diverge"
        return f"{text}{most if diverged else ''}."

    def differences(self) -> list[str]:
        """Say what makes the difference: which factor matters, and what tests show."""
        return [self.matters(), self.tests()] if len(self.factors) else [self.tests()]

    def matters(self) -> str:
        """Name the factor that matters most."""
        rows = self.factors
        if rows["eta_squared"].isna().all():
            return "All runs have the same convergence rate, so no factor matters here."
        shares = [
            f"{percent(share)} % with {name_of(factor)}"
            for factor, share in zip(rows["factor"], rows["eta_squared"], strict=True)
        ]
        shares[0] += " alone" if len(rows) > 1 else ""
        most = name_of(rows["factor"].iloc[0])
        goes = f"of the variance between runs goes {listing(shares)}"
        return f"{most.capitalize()} matters most: {goes}."

    def tests(self) -> str:
        """Count the comparisons that are significant."""
        parts = []
        for name, table in (("activations", self.activations), ("inits", self.inits)):
            if len(table):
                significant = int((table["mcnemar/p_holm"] < ALPHA).sum())
                parts.append(f"{significant} of {len(table)} differences between {name}")
        if not parts:
            return "There are no two settings to compare by tests."
        return (
            f"After Holm's correction, {listing(parts)} in how often they converge are significant."
        )

    def _with_run_ids(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Add the run's id to rows of `summary`, which goes to files and so has none."""
        return rows.merge(self.sweep.finished[["run_id", *self.sweep.axes]], on=self.sweep.axes)


_OUTCOMES = {RATE: "converged", tables.STALLED: "stalled", DIVERGED: "diverged"}


def name_of(key: str) -> str:
    """Give the short name of a config key."""
    return SHORT.get(key, key)


def _many(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _is_in(group: str, axes: set[str]) -> bool:
    return any(axis.split(".")[0] == group for axis in axes)
