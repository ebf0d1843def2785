"""The schema of a run: what a composed config may hold, and the digest of what decides its result.

Owns how keys go together, and a run's config as a value: weights that it starts from are read once.
What each key may be is left to `keys.py`. How files and overrides become a mapping is left to
Hydra; what the values do, to `core`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from bp_pipeline.arrays import layer_names, read_weights
from bp_pipeline.config import keys
from bp_pipeline.config.errors import ConfigError, describe
from bp_pipeline.config.tasks import TruthTable, truth_table
from bp_pipeline.core.activations import DEFAULT_SLOPE
from bp_pipeline.core.losses import LOSSES
from bp_pipeline.digests import digest_arrays, digest_json

# Keys that say how and where, and change no bit: they are in no digest and in no name.
UNDECIDED = frozenset({"engine", "threads", "tracking", "cluster", "sweep"})

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster, where it is built


@dataclass(frozen=True)
class GivenWeights:
    """Initial weights as they were read; equal where their digests are.

    Attributes
    ----------
    layers
        For each layer an array of shape (n, fan_in + 1, fan_out), row 0 the bias unit's.
    """

    layers: tuple[np.ndarray, ...] = field(compare=False, repr=False)
    digest: str


def draws_nothing(name: Any, noise: Any) -> Any:
    """Whether an init, or those of which these are columns, is a constant without noise."""
    return (name == "constant") & (noise == 0)


class RunConfig(keys.Section):
    """One run: everything that decides its result, and where that result goes."""

    task: keys.BooleanTask | keys.ParityTask | keys.TableTask = Field(
        discriminator="name", description="the truth table to learn"
    )
    network: keys.Network = Field(description="sizes, bias units, output")
    activation: keys.Activation = Field(description="of the hidden layers")
    init: keys.Constant | keys.Uniform | keys.Normal | keys.VarianceScaling | keys.Given = Field(
        discriminator="name", description="initial weights"
    )
    loss: keys.Loss = Field(
        description="what training makes smaller; `logistic` needs `network.output=sigmoid`"
    )
    optimizer: keys.Optimizer = Field(description="one update an epoch, or one a sample")
    training: keys.Training = Field(description="how long, and what is recorded")
    replicates: int = keys.integer("networks trained, each from its own draw", "100", 0, None, ge=1)
    seed: int = keys.integer("of the draws", "0", -1, 2**63, None, ge=0, le=2**63 - 1)
    engine: Literal["compiled", "numpy"] = keys.declare(
        "same bits, other speed", "numpy", "jax", None
    )
    threads: int | None = keys.integer(
        "`null`: all cores", "2", 0, keys.MOST_WORKERS + 1, "all", default=None, ge=1,
        le=keys.MOST_WORKERS,
    )  # fmt: skip
    tracking: keys.Tracking = Field(description="where runs are kept; `off`: nowhere")
    cluster: keys.Cluster = Field(default=keys.LOCAL, description="where networks train")
    sweep: keys.Sweep
    labels: dict[str, str] = Field(default_factory=dict)
    _given: GivenWeights | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _fits_together(self, info: Any) -> "RunConfig":
        problems = list(self._misfits((info.context or {}).get("given_weights")))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _misfits(self, given_weights: Path | str | None) -> Iterator[str]:
        required = LOSSES[self.loss.name].required_output
        if required not in (None, self.network.output):
            yield (
                f"`network.output` must be {required} for `loss={self.loss.name}`, got "
                f"{self.network.output!r}. Use `network.output={required}` or `loss=squared_error`."
            )
        targets = self.truth_table.targets
        if self.loss.name == "logistic" and not ((targets >= 0) & (targets <= 1)).all():
            yield (
                "`task.targets` must lie in 0 … 1 for `loss=logistic`, got "
                f"{targets.tolist()}. Use `loss=squared_error network.output=identity`."
            )
        factors, n_layers = self.optimizer.layer_factors, len(self.layer_sizes) - 1
        if factors is not None and len(factors) != n_layers:
            yield (
                f"`optimizer.layer_factors` must have one number for each of the {n_layers} layers "
                f"with weights, got {factors}. Try `optimizer.layer_factors={[1] * n_layers}`."
            )
        if isinstance(self.init, keys.Given):
            try:
                self._given = self._read(given_weights or self.init.path)
            except ValueError as error:
                yield f"`init.path` must {error}"

    def _read(self, path: Path | str) -> GivenWeights:
        layers = tuple(read_weights(path, self.layer_sizes, bias=self.network.bias))
        for layer in layers:
            layer.setflags(write=False)
        arrays = dict(zip(layer_names(len(layers)), layers, strict=True))
        return GivenWeights(layers, digest_arrays(arrays))

    @property
    def truth_table(self) -> TruthTable:
        """The rows of the task."""
        return truth_table(**self.task.model_dump())

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Units of each layer, from input to output, bias units not counted."""
        table = self.truth_table
        return (table.inputs.shape[1], *self.network.hidden, table.targets.shape[1])

    @property
    def draws_nothing(self) -> bool:
        """Whether all replicates are copies of one network."""
        return bool(draws_nothing(self.init.name, getattr(self.init, "noise", 0)))

    @property
    def n_networks(self) -> int:
        """How many networks are trained."""
        return self.replicates

    @property
    def slope(self) -> float:
        """Slope of leaky_relu for negative pre-activations."""
        return DEFAULT_SLOPE if self.activation.slope is None else self.activation.slope

    @property
    def layer_factors(self) -> tuple[float, ...]:
        """What the learning rate of each layer with weights is multiplied by."""
        return tuple(self.optimizer.layer_factors or [1.0] * (len(self.layer_sizes) - 1))

    @property
    def init_scale(self) -> float:
        """What the initial weights are multiplied by, drawn ones and given ones alike."""
        return self.init.scale

    @property
    def initializer(self) -> dict[str, Any]:
        """Name and numbers of the initializer, as `core.initializers.initialize` takes them."""
        return self.init.model_dump(exclude={"scale"})

    @property
    def given_weights(self) -> tuple[np.ndarray, ...] | None:
        """Initial weights that were given, layer by layer, or None where they are drawn."""
        return None if self._given is None else self._given.layers

    @cached_property
    def config_digest(self) -> str:
        """SHA-256 over what decides the result: content, never labels, engine or place."""
        others = {*UNDECIDED, "task", "init", "labels"}
        without: dict[str, Any] = {**dict.fromkeys(others, True), "optimizer": {"layer_factors"}}
        decisive = self.model_dump(exclude=without, exclude_none=True)
        table = self.truth_table
        decisive["task"] = {"inputs": table.inputs.tolist(), "targets": table.targets.tolist()}
        given = self._given and {"name": "given", "weights": self._given.digest}
        decisive["init"] = given or self.initializer
        # A factor of 1 changes no bit, and is in no digest of before there were factors.
        if set(self.layer_factors) != {1.0}:
            decisive["layer_factors"] = list(self.layer_factors)
        if self.init_scale != 1:
            decisive["init_scale"] = self.init_scale
        return digest_json(decisive)

    def params(self) -> dict[str, Any]:
        """Return every config key, dotted; a group's own key holds the option that was chosen."""
        return {**self.labels, **dict(keys.flat(self.model_dump(exclude={"labels"})))}

    def to_yaml(self) -> str:
        """Return the config as `parse_config(yaml.safe_load(…))` takes it."""
        return yaml.dump(self.model_dump(exclude_none=True), Dumper=_DUMPER, sort_keys=False)


AnyConfig = TypeVar("AnyConfig", bound=RunConfig)


@overload
def parse_config(
    raw: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    *,
    given_weights: Path | str | None = None,
) -> RunConfig: ...
@overload
def parse_config(
    raw: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    *,
    given_weights: Path | str | None = None,
    schema: type[AnyConfig],
) -> AnyConfig: ...
def parse_config(
    raw: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    *,
    given_weights: Path | str | None = None,
    schema: type[RunConfig] = RunConfig,
) -> RunConfig:
    """Check a composed config against the schema.

    Parameters
    ----------
    raw
        Plain nested mapping, as composed from `conf/` or read from a run's `config.yaml`.
    labels
        The option chosen for each group; by default those in `raw`, else the options' names.
    given_weights
        File that the weights of `init=given` are read from, in place of `init.path`: a run's own.
    schema
        What is more than a run: a subclass with sections of its own.

    Raises
    ------
    ConfigError
        Where a value is missing, unknown, out of range, or does not go with another; its text
        has one line for each problem.
    """
    sections = {key: value for key, value in raw.items() if isinstance(value, Mapping)}
    names = {key: str(value["name"]) for key, value in sections.items() if "name" in value}
    known = raw.get("labels") or {}
    known = {**names, **known, **(labels or {})} if isinstance(known, Mapping) else known
    if "map" in raw and schema is RunConfig:
        raise ConfigError("`map` must be left out of a run, got axes. Draw them: `bp map`.")
    context = {"given_weights": given_weights}
    try:
        config = schema.model_validate({**raw, "labels": known}, context=context)
    except ValidationError as error:
        raise ConfigError(describe(error, keys.declared_keys(schema))) from None
    given = config.given_weights
    return config if given is None else config.model_copy(update={"replicates": len(given[0])})


KEYS = keys.declared_keys(RunConfig)  # every config key, in the order of the config
