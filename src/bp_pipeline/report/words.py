"""What config keys are called in a report: beside a value, in a sentence, in a legend.

Owns one name of each kind for every key that sweeps commonly vary; any other key is called by
itself. How MLflow's runs are named is `bp_pipeline.naming`'s.
"""

from typing import NamedTuple


class Words(NamedTuple):
    """The names of one key.

    Attributes
    ----------
    name
        Beside a value or above a column: `hidden layers` [2].
    one, many
        In a sentence: the `hidden layout`, 3 `hidden layouts`.
    """

    name: str
    one: str
    many: str


_WORDS = {
    "task.bits": Words("bits", "number of bits", "numbers of bits"),
    "task.inputs": Words("inputs", "table of inputs", "tables of inputs"),
    "task.targets": Words("targets", "table of targets", "tables of targets"),
    "network": Words("network", "network", "networks"),
    "network.hidden": Words("hidden layers", "hidden layout", "hidden layouts"),
    "network.bias": Words("bias units", "use of bias units", "uses of bias units"),
    "network.output": Words("output", "output activation", "output activations"),
    "activation.slope": Words("slope", "slope", "slopes"),
    "init.bias": Words("bias weights", "kind of bias weights", "kinds of bias weights"),
    "init.bound": Words("bound", "bound", "bounds"),
    "init.noise": Words("noise", "noise", "levels of noise"),
    "init.path": Words("weights", "file of weights", "files of weights"),
    "init.std": Words("std", "standard deviation", "standard deviations"),
    "init.value": Words("value", "initial value", "initial values"),
    "loss": Words("loss", "loss", "losses"),
    "loss.reduction": Words("reduction", "reduction", "reductions"),
    "optimizer.learning_rate": Words("learning rate", "learning rate", "learning rates"),
    "optimizer.momentum": Words("momentum", "momentum", "values of momentum"),
    "training": Words("training", "kind of training", "kinds of training"),
    "training.epochs": Words("epochs", "training length", "training lengths"),
    "training.tolerance": Words("tolerance", "tolerance", "tolerances"),
    "replicates": Words("replicates", "number of replicates", "numbers of replicates"),
}
INTERPLAY = "interplay"  # of all factors
_PLAIN = {"activation", "init", "task", "optimizer", "experiment", "seed"}
_BRIEF = {"optimizer.learning_rate": "lr"}


def words(key: str) -> Words:
    """Give the names of a config key; one that has none is called by itself."""
    many = f"{key}s" if key in _PLAIN else f"values of {key}"
    return _WORDS.get(key, Words(key, key, many))


def name_of(key: str) -> str:
    """Name a config key beside its value."""
    return words(key).name


def the(factor: str) -> str:
    """Name a config key, or the interplay of several, in a sentence."""
    if factor == INTERPLAY:
        return "their interplay"
    return f"the {words(factor).one}" if factor in _WORDS or factor in _PLAIN else factor


def how_many(number: int, key: str) -> str:
    """Count the values of a config key."""
    one, many = words(key)[1:]
    return f"{number:,} {one if number == 1 else many}"


def brief(key: str) -> str:
    """Name a config key where there is little room: `hidden` in `hidden=[2]`."""
    return _BRIEF.get(key, key.rsplit(".", 1)[-1])
