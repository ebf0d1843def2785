"""`hydra/sweeper=grid`: every combination of the values given, as one batch of jobs.

A grid is that of Hydra's basic sweeper. That one also composes each job once just to see that it
can be, and writes a `multirun.yaml`; `bp train` checks all jobs before it trains the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridSweeperConf:
    """What to sweep over, as on the command line, which wins where both name a key.

    `params` is one grid. `grids`, for what is not one, are several, one after another; `params` is
    then what they share.
    """

    _target_: str = "hydra_plugins.bp_pipeline.sweeper.GridSweeper"
    params: Any = None
    grids: list[dict[str, Any]] = field(default_factory=lambda: [{}])


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="bp_pipeline"
)


class GridSweeper(Sweeper):
    """Launches all combinations at once."""

    def __init__(self, params: Any = None, grids: Any = None) -> None:
        """Take what stands in the config too, where it is read."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what the jobs are composed from and who takes them."""
        self._context, self._application, self._config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Launch the grids that the config and the command line span."""
        from bp_pipeline.config.job_configs import spanned_jobs

        jobs = spanned_jobs(self._context.config_loader, self._config, arguments)
        done: list[JobReturn] = []
        for _, batch in groupby(jobs, key=lambda job: id(job[0])):
            [*same] = batch
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self._context, task_function=self._application, config=same[0][0]
            )
            done += launcher.launch([overrides for _, overrides in same], len(done))
        if getattr(self._application, "n_seen", len(jobs)) < len(jobs):
            raise HydraException(
                "`hydra/launcher` must run jobs in this process, which "
                f"{type(launcher).__name__} does not. Use `hydra/launcher=ensemble`, which "
                "trains them on all cores."
            )
        return done
