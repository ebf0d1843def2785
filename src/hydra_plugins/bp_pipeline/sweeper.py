"""`hydra/sweeper=grid`: every combination of the values given, as one batch of jobs.

A grid is that of Hydra's basic sweeper. That one also composes each job once just to see that it
can be, and writes a `multirun.yaml`; `bp train` checks all jobs before it trains the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridSweeperConf:
    """What to sweep over, as on the command line, which wins where both name a key.

    `params` is one grid. `grids`, for what is not one, are several, one after another; `params` is
    then what they share.
    """

    _target_: str = "hydra_plugins.bp_pipeline.sweeper.GridSweeper"
    params: dict[str, Any] | None = None
    grids: list[dict[str, Any]] = field(default_factory=lambda: [{}])


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="bp_pipeline"
)


class GridSweeper(BasicSweeper):
    """Launches all combinations at once."""

    def __init__(
        self, params: dict[str, Any] | None = None, grids: Sequence[Mapping[str, Any]] = ({},)
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self._grids = grids

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember who takes the jobs over, besides what Hydra's sweeper remembers."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._jobs = task_function

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Launch the grids that the config and the command line span."""
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs: list[list[str]] = []
        for grid in self._grids:
            given = [f"{key}={values}" for key, values in {**self.params, **grid}.items()]
            [spanned] = self.split_arguments(parser.parse_overrides([*given, *arguments]), None)
            jobs.extend(spanned)
        results = self.launcher.launch(jobs, initial_job_idx=0)
        if getattr(self._jobs, "n_seen", len(jobs)) < len(jobs):
            raise HydraException(
                "`hydra/launcher` must run jobs in this process, which "
                f"{type(self.launcher).__name__} does not. Use `hydra/launcher=ensemble`: it "
                "trains them on all cores."
            )
        return results
