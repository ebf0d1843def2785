"""A store that tests verify."""

from pathlib import Path
from typing import NamedTuple


class Store(NamedTuple):
    """Where the sweep is, and its runs by name."""

    folder: Path
    sweep: str
    runs: dict[str, str]

    def artifacts(self, name: str) -> Path:
        [folder] = self.folder.glob(f"mlruns/*/{self.runs[name]}/artifacts")
        return folder


# The run that starts from given weights, which is one on its own.
OPTIONS = "epochs=40 · record=8 · record_weights=2 · replicates=5"
GIVEN = f"tanh · given · path=given.npz · lr=1.0 · {OPTIONS}"
