"""`hydra/launcher=ensemble`: hands all jobs over at once, to be trained side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class EnsembleLauncherConf:
    """It has nothing to configure: engine and threads are config keys of the runs."""

    _target_: str = "hydra_plugins.bp_pipeline.launcher.EnsembleLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="ensemble", node=EnsembleLauncherConf, provider="bp_pipeline"
)


class EnsembleLauncher(Launcher):
    """Leaves composing to `bp_pipeline.config`, and training to `bp train`."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what the jobs are composed from and who takes them."""
        from bp_pipeline.config.compose import Application

        if not isinstance(task_function, Application):
            raise HydraException("hydra/launcher=ensemble launches the jobs of `bp train` only.")
        self._application = task_function
        self._loader, self._config = hydra_context.config_loader, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hand a batch of jobs over."""
        self._application.take(self._loader, self._config, job_overrides, initial_job_idx)
        return [
            JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
            for overrides in job_overrides
        ]
