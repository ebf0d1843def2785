"""What a sweep comes to: its tables, each made once, for all that is written about it.

Owns which runs are shown and the order of rows. How tables are made is `tables.py`'s, what they
say in words that of `sentences.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.report import tables
from bp_pipeline.report.ordering import sorted_rows
from bp_pipeline.report.statistics import Survival
from bp_pipeline.report.sweep_data import Sweep
from bp_pipeline.report.tables import RATE
from bp_pipeline.report.text import NONE, plain
from bp_pipeline.report.words import brief, name_of


@dataclass(frozen=True)
class Findings:
    """The tables of a sweep."""

    sweep: Sweep

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a run."""
        return tables.summary(self.sweep)

    @cached_property
    def best(self) -> pd.DataFrame:
        """The best learning rate of each setting."""
        rows = tables.best_learning_rates(self.sweep, self.summary)
        return sorted_rows(rows, self.sweep.settings)

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The runs whose curves are drawn: each setting at its best, or all where there is one."""
        one_setting = len(self.summary[self.sweep.settings].drop_duplicates()) < 2
        keys = self.sweep.axes if one_setting else self.sweep.settings
        return sorted_rows(self._with_run_ids(tables.best(self._ranked, keys)), keys)

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
        return self._compared("activation")

    @cached_property
    def inits(self) -> pd.DataFrame:
        """Tests between inits."""
        return self._compared("init")

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

    @property
    def n_drawn(self) -> int:
        """How many runs have replicates that are not copies: those that tests choose among."""
        return int(tables.drawn_replicates(self.sweep)["run_id"].nunique())

    @cached_property
    def keys_of_rows(self) -> list[str]:
        """What tells the settings of an activation apart: the axes that vary, or else the init."""
        keys = self.sweep.settings[1:]
        return [key for key in keys if self.summary[key].nunique(dropna=False) > 1] or keys[:1]

    def place(self, row: pd.Series) -> str:
        """Say where a run stands in the grid."""
        activation, init, *others = self.sweep.axes
        parts = [f"{name_of(key)} {plain(row[key])}" for key in others if pd.notna(row[key])]
        return ", ".join([f"{plain(row[activation])} with {plain(row[init])}", *parts])

    def label(self, row: pd.Series, keys: Sequence[str]) -> str:
        """Say in short what tells a row or a line from others by some axes."""
        parts = [
            plain(row[key]) if key in self.sweep.axes[:2] else f"{brief(key)}={plain(row[key])}"
            for key in keys
            if pd.notna(row[key])
        ]
        return " · ".join(parts) or NONE

    def _compared(self, axis: str) -> pd.DataFrame:
        rows = tables.comparisons(self.sweep, axis)
        return sorted_rows(rows, self.sweep.settings[2:]) if len(rows) else rows

    def _with_run_ids(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Add the run's id to rows of `summary`, which goes to files and so has none."""
        return rows.merge(self.sweep.finished[["run_id", *self.sweep.axes]], on=self.sweep.axes)
