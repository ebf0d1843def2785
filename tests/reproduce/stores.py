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
