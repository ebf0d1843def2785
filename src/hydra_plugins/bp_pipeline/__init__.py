"""What Hydra finds by itself where bp_pipeline is installed: a launcher, a sweeper, a resolver.

Hydra imports these modules at every start, for `--help` and tab completion too: they are thin, and
import nothing that is slow.
"""

import tempfile
from functools import cache

from omegaconf import OmegaConf


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bp_pipeline_")


# A folder for what Hydra's basic launcher and sweeper insist on writing; it goes when the process
# ends.
_register = getattr(OmegaConf, "register_resolver", OmegaConf.register_new_resolver)  # since 2.4
_register("bp.scratch", lambda: _scratch().name, replace=True)
