"""What Hydra finds by itself where bp_pipeline is installed: a launcher, a sweeper, a resolver.

Hydra imports these modules at every start, for `--help` and tab completion too: they are thin, and
import nothing that is slow.
"""

import tempfile
from functools import cache
from typing import Any

import omegaconf
from omegaconf import OmegaConf


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bp_pipeline_")


# A folder for what Hydra's basic launcher and sweeper insist on writing; it goes when the process
# ends.
_is_old = omegaconf.__version__.startswith("2.3")
_register: Any = OmegaConf.register_new_resolver if _is_old else OmegaConf.register_resolver
_register("bp.scratch", lambda: _scratch().name, replace=True)
