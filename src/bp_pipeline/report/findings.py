"""What a sweep comes to: its tables, each made once, for all that is written about it.

Owns which runs are shown and the order of rows. How tables are made is `tables.py`'s, what they
say in words that of `sentences.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from bp_pipeline.report import tables
from bp_pipeline.report.comparisons import axes_to_compare, comparisons, drawn_replicates
from bp_pipeline.report.notation import NONE, as_typed, brief, name_of, sorted_rows
from bp_pipeline.report.statistics import Survival
from bp_pipeline.report.sweep_data import (
    ACTIVATION,
    INIT,
    LEARNING_RATE,
    RATE,
    Sweep,
    part_of,
)

_MOST_PANELS = 8


@dataclass(frozen=True)
class Findings:
    """The tables of a sweep, as numbers."""

    sweep: Sweep

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """One row a run."""
        return tables.outcomes_by_run(self.sweep)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """One row a run, the best first."""
        return self.outcomes.loc[tables.ranked(self.sweep.finished).index]

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """How many runs are better, by the run's id."""
        ids = self.sweep.finished["run_id"].loc[self.ranked.index]
        return {run_id: rank for rank, run_id in enumerate(ids)}

    @cached_property
    def best(self) -> pd.DataFrame:
        """The best learning rate of each setting."""
        rows = tables.best_learning_rates(self.sweep, self.outcomes)
        return sorted_rows(rows, self.sweep.settings)

    def best_settings(self, n: int) -> pd.Index:
        """Return which rows of `best` are the n best, as many for each task; at least one."""
        keys = [key for key in self.sweep.axes if key.split(".")[0] == "task"]
        settings = self.sweep.settings
        ordered = self.ranked[settings].drop_duplicates()
        if keys:
            groups = ordered.groupby(keys, sort=False, dropna=False)
            ordered = groups.head(max(1, n // groups.ngroups))
        chosen = self.best[settings].merge(ordered[:n], how="left", indicator=True)
        return self.best.index[chosen["_merge"] == "both"]

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The runs whose curves are drawn: each setting at its best, or all where there is one."""
        keys = self.sweep.axes if self._has_one_setting else self.sweep.settings
        return sorted_rows(self._with_run_ids(tables.best(self.ranked, keys)), keys)

    @cached_property
    def survivals(self) -> Mapping[str, Survival | None]:
        """Share not yet converged of each run that is shown."""
        return dict(tables.survivals(self.sweep, self.shown["run_id"].tolist()))

    @cached_property
    def factors(self) -> pd.DataFrame:
        """How much each factor matters."""
        return tables.factors(self.sweep, self.outcomes)

    @cached_property
    def tests(self) -> Mapping[str, pd.DataFrame]:
        """Tests between the values of each axis of which there are some."""
        tables = {axis: comparisons(self.sweep, axis) for axis in axes_to_compare(self.sweep)}
        return {
            axis: sorted_rows(table, [key for key in self.sweep.settings if key != axis])
            for axis, table in tables.items()
            if len(table)
        }

    @property
    def is_top_tested(self) -> bool:
        """Whether the best run of all is one side of a test."""
        for axis, table in self.tests.items():
            for side in ("first", "second"):
                sides = table.drop(columns=axis, errors="ignore").rename(
                    columns={side: axis, f"{side}/{LEARNING_RATE}": LEARNING_RATE}
                )
                if (sides[self.sweep.axes] == self.top[self.sweep.axes]).all(axis=1).any():
                    return True
        return False

    @cached_property
    def top(self) -> pd.Series:
        """The best run of all, with its id."""
        return self._with_run_ids(tables.best(self.ranked, [])).iloc[0]

    @property
    def is_pooled(self) -> bool:
        """Whether runs that differ only in their seed are one place of the grid."""
        return bool((self.sweep.finished["run_ids"].map(len) > 1).any())

    @property
    def n_unread(self) -> int:
        """How many finished runs have results that cannot be read."""
        return int(self.outcomes[RATE].isna().sum())

    @property
    def nothing_solved(self) -> bool:
        """Whether no network of any run solves its task, as far as is known."""
        return not (self.outcomes[RATE] > 0).any()

    @property
    def n_drawn(self) -> int:
        """How many runs have replicates that are not copies: those that tests choose among."""
        return int(drawn_replicates(self.sweep)["place"].nunique())

    @cached_property
    def tasks(self) -> "list[tuple[str, Findings]]":
        """The findings of each task by its name, which is empty where there is only one."""
        keys = [key for key in self.sweep.axes if key.split(".")[0] == "task"]
        if not keys or self.outcomes.empty:
            return [("", self)]
        parts = []
        for _, rows in self.sweep.finished.groupby(keys, sort=False, dropna=False):
            task = [
                self.named(key, rows.iloc[0][key]) for key in keys if pd.notna(rows.iloc[0][key])
            ]
            parts.append((", ".join(task), Findings(part_of(self.sweep, rows))))
        return parts

    @cached_property
    def headline_key(self) -> str:
        """What headlines are about: the first axis that varies, of few values."""
        return next((key for key in self._varied if self._sizes[key] <= _MOST_PANELS), ACTIVATION)

    @property
    def panel_key(self) -> str:
        """What panels are made of: the same, where there are rows besides."""
        return self.headline_key if len(self._varied) > 1 else ACTIVATION

    @cached_property
    def keys_of_rows(self) -> list[str]:
        """What tells the settings of a panel apart: the axes that vary, or else one of two."""
        keys = [key for key in self.sweep.settings if key != self.panel_key]
        return [key for key in keys if self._sizes[key] > 1] or keys[:1]

    @cached_property
    def keys_of_lines(self) -> list[str]:
        """What tells the lines of a panel apart: the same, or the learning rate of one setting."""
        return [LEARNING_RATE] if self._has_one_setting else self.keys_of_rows

    def named(self, key: str, value: object) -> str:
        """Write a value of a key with the key's name, where it does not speak for itself."""
        speaks = key in (ACTIVATION, INIT, "task")
        return as_typed(value) if speaks else f"{name_of(key)} {as_typed(value)}"

    def place(self, row: pd.Series) -> str:
        """Write where a run stands in the grid, in words."""
        parts = [self.named(k, row[k]) for k in self.sweep.axes[2:] if pd.notna(row[k])]
        return ", ".join([f"{as_typed(row[ACTIVATION])} with {as_typed(row[INIT])}", *parts])

    def label(self, row: pd.Series, keys: Sequence[str]) -> str:
        """Write in short what tells a row or a line from others by some axes."""
        parts = [
            as_typed(row[key])
            if key in (ACTIVATION, INIT)
            else f"{brief(key)}={as_typed(row[key])}"
            for key in keys
            if pd.notna(row[key])
        ]
        return " · ".join(parts) or NONE

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        return {key: self.outcomes[key].nunique(dropna=False) for key in self.sweep.settings}

    @property
    def _has_one_setting(self) -> bool:
        return len(self.outcomes[self.sweep.settings].drop_duplicates()) < 2

    @property
    def _varied(self) -> list[str]:
        return [key for key, size in self._sizes.items() if size > 1]

    def _with_run_ids(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Add the run's id to rows of `outcomes`, which goes to files and so has none."""
        return rows.merge(self.sweep.finished[["run_id", *self.sweep.axes]], on=self.sweep.axes)
