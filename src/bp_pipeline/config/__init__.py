"""From a command line to checked configs.

Entered through what stands here; Hydra is imported only when something is composed.
"""

from bp_pipeline.config.compose import Composition, Job, compose
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig, parse_config

__all__ = ["Composition", "ConfigError", "Job", "RunConfig", "compose", "parse_config"]
