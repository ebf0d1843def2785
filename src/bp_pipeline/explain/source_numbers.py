"""Numbers that a source prints of a step, beside those of the step.

Owns where they are found, whether a step is the source's, and the comparison. A study may keep such
numbers beside it, in `experiments/<study>/printed.yaml`: `source`, what it is called; `setup`, the
step that it goes through; `numbers`, each with its place in the source and, where it is not what
the equations give, why.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.keys import conf_folder
from bp_pipeline.explain.derivation import Derivation
from bp_pipeline.explain.step import Step

_FILE = "printed.yaml"


@dataclass(frozen=True)
class PrintedNumber:
    """A number that a source prints, of one quantity or of several that are alike."""

    names: tuple[str, ...]
    at_the_start: bool  # weights before the update are meant
    prints: float
    computed: float | None  # by the core; None where there is no such quantity
    place: str  # where the source prints it
    why: str | None  # in one sentence, why the two differ

    @property
    def title(self) -> str:
        """The names in one line, a long list by its ends."""
        few = len(self.names) <= 4
        listed = ", ".join(self.names) if few else f"{self.names[0]} … {self.names[-1]}"
        return f"{listed} at the start" if self.at_the_start else listed


def printed_beside(step: Step, derivation: Derivation) -> tuple[str, list[PrintedNumber]]:
    """Return who prints numbers of this very step, and these beside ours; empty where nobody does.

    Raises
    ------
    ConfigError
        Where a study's file of printed numbers holds none.
    """
    for path in (path for folder in _studies() for path in sorted(folder.glob(f"*/{_FILE}"))):
        with _opened(path) as document:
            if _is_its(step, document["setup"]):
                values = _values(derivation)
                return document["source"], [_beside(entry, values) for entry in document["numbers"]]
    return "", []


def why_none(study: str) -> str:
    """Return why none are shown with a step of a study; empty where nobody may expect any."""
    folders = _studies()
    if not folders:
        return (
            f"Numbers that the source of `experiment={study}` may print are not shown: they are in "
            "`experiments/` of a checkout of bp_pipeline, which is not here."
        )
    for path in filter(Path.is_file, (folder / study / _FILE for folder in folders)):
        with _opened(path) as document:
            source, setup = document["source"], document["setup"]
            return (
                f"The {source} prints numbers only for its own setup, sample {setup['sample']} and "
                f"epoch {setup['epoch']}."
            )
    return ""


def _studies() -> list[Path]:
    """Return the folders of studies: the current folder's, and that of a checkout's `conf/`."""
    places = (Path("experiments"), conf_folder().parent / "experiments")
    return [place for place in places if place.is_dir()]


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a file holds; what is wrong with it then is one message."""
    try:
        yield yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__} {' '.join(str(error).split())}"
        raise ConfigError(
            f"{path} must hold printed numbers, got {problem}. Correct it, or move it away."
        ) from None


def _is_its(step: Step, setup: Mapping[str, Any]) -> bool:
    """Whether a step has all the values of a setup."""
    weights = {float(w) for layer in step.before.weights for w in layer.ravel()}
    known = {
        **asdict(step.setup.architecture),
        **step.config.optimizer.model_dump(),
        "sample": step.sample,
        "epoch": step.epoch,
        "online": step.setup.online,
        "layer_sizes": list(step.config.layer_sizes),
        "inputs": [list(row) for row in step.setup.inputs],
        "targets": [list(row) for row in step.setup.targets],
        "initial_weights": weights.pop() if len(weights) == 1 else None,
    }
    return all(known[key] == setup[key] for key in ("sample", "epoch", *setup))


def _values(derivation: Derivation) -> dict[str, float]:
    """Return every number of a step by name; weights before it as `"W10 at the start"`."""
    known, weights = derivation.values, derivation.names.all_weights()
    start = {f"{weight.name} at the start": known[weight.name] for weight in weights}
    computed = {e.name: e.value for section in derivation.sections for e in section.equations}
    return {**known, **start, **computed}


def _beside(entry: Mapping[str, Any], values: Mapping[str, float]) -> PrintedNumber:
    names, at_the_start = tuple(entry["names"].split()), entry.get("at_the_start", False)
    keys = [f"{name} at the start" if at_the_start else name for name in names]
    [computed] = {values.get(key) for key in keys}  # an entry's quantities are alike
    why = None if computed == entry["prints"] else entry["why"]
    return PrintedNumber(names, at_the_start, entry["prints"], computed, entry["place"], why)
