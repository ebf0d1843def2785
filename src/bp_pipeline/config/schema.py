"""The schema of a run: what a composed config may hold, within which ranges, and its digest.

Owns every rule about a config value and the message a user reads when it is broken. How files and
overrides become a mapping is Hydra's; what the values do is said in `core`.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)

from bp_pipeline.arrays import read_weights
from bp_pipeline.config.errors import ConfigError, describe, without_passwords
from bp_pipeline.config.tasks import TruthTable, truth_table
from bp_pipeline.core.activations import ACTIVATIONS, DEFAULT_SLOPE
from bp_pipeline.core.losses import LOSSES
from bp_pipeline.digests import digest_arrays, digest_json

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster, where it is built

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rows = Annotated[list[Annotated[list[Finite], Field(min_length=1)]], Field(min_length=1)]


def _named_in(table: Mapping[str, object]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"must be one of {', '.join(table)}")
        return name

    return AfterValidator(check)


ActivationName = Annotated[str, _named_in(ACTIVATIONS)]
LossName = Annotated[str, _named_in(LOSSES)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BooleanTask(_Section):
    """A Boolean function of two inputs."""

    name: Literal["xor", "and", "or", "nand", "nor", "xnor"]


class ParityTask(_Section):
    """Parity of `bits` inputs."""

    name: Literal["parity"]
    bits: int = Field(ge=2, le=10)


class TableTask(_Section):
    """Rows of the user's own."""

    name: Literal["table"]
    inputs: Rows
    targets: Rows

    @model_validator(mode="after")
    def _rectangular(self) -> "TableTask":
        for key, rows in (("inputs", self.inputs), ("targets", self.targets)):
            if len({len(row) for row in rows}) > 1:
                raise ValueError(f"`task.{key}` must have rows of one length, got {rows}")
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"`task.targets` must have one row for each of the {len(self.inputs)} rows of "
                f"`task.inputs`, got {len(self.targets)}"
            )
        return self


class Network(_Section):
    """The layers between input and output, and what the output is."""

    hidden: list[Annotated[int, Field(ge=1)]]
    bias: bool
    train_bias: bool
    output: ActivationName


class Activation(_Section):
    """The activation of the hidden layers; `slope` belongs to leaky_relu."""

    name: ActivationName
    slope: NonNegative | None = None

    @model_validator(mode="after")
    def _slope_where_it_counts(self) -> "Activation":
        if (self.slope is not None) != (self.name == "leaky_relu"):
            raise ValueError(
                "`activation.slope` must be given for leaky_relu, and only for it, "
                f"got {self.slope} with {self.name}"
            )
        return self


class _Drawn(_Section):
    bias: Literal["same", "zero"]


class Constant(_Drawn):
    """Every weight `value`, plus uniform noise in ±`noise`."""

    name: Literal["constant"]
    value: Finite
    noise: NonNegative = 0.0


class Uniform(_Drawn):
    """Uniform in ±`bound`."""

    name: Literal["uniform"]
    bound: Positive


class Normal(_Drawn):
    """Normal with mean 0 and standard deviation `std`."""

    name: Literal["normal"]
    std: Positive


class VarianceScaling(_Drawn):
    """Variance `scale` / fan, from a uniform, normal or truncated normal distribution."""

    name: Literal["variance_scaling"]
    scale: Positive
    fan: Literal["in", "out", "average"]
    distribution: Literal["uniform", "normal", "truncated_normal"]


class Given(_Section):
    """Weights read from the `.npz` file `path`."""

    name: Literal["given"]
    path: str


class Loss(_Section):
    """What gradient descent makes smaller."""

    name: LossName
    reduction: Literal["mean", "sum"]


class Optimizer(_Section):
    """Gradient descent, and how far one step goes."""

    name: Literal["batch_gd", "online_gd"]
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(ge=0, lt=1)


class Training(_Section):
    """How long, when to call it converged, and what is recorded on the way."""

    epochs: int = Field(ge=0, le=2**53)
    tolerance: float = Field(gt=0, le=0.5)
    stop_when_converged: bool
    record: int = Field(ge=2)
    record_weights: int = Field(ge=0)


class Tracking(_Section):
    """Where results are kept."""

    name: Literal["local", "off"]
    experiment: str = Field(default="bp_pipeline", min_length=1)
    uri: str | None = None

    @field_serializer("uri")
    def _without_password(self, uri: str | None) -> str | None:
        return None if uri is None else without_passwords(uri)


class Sweep(_Section):
    """How a sweep treats what is already there."""

    rerun: bool


class RunConfig(_Section):
    """One run: everything that decides its result, and where that result goes."""

    task: BooleanTask | ParityTask | TableTask = Field(discriminator="name")
    network: Network
    activation: Activation
    init: Constant | Uniform | Normal | VarianceScaling | Given = Field(discriminator="name")
    loss: Loss
    optimizer: Optimizer
    training: Training
    replicates: int = Field(ge=1)
    seed: int = Field(ge=0, le=2**63 - 1)
    engine: Literal["compiled", "numpy"]
    threads: int | None = Field(default=None, ge=1)
    tracking: Tracking
    sweep: Sweep
    labels: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        problems = list(self._misfits())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _misfits(self) -> Iterator[str]:
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
        if isinstance(self.init, Given):
            yield from self._given_misfits()

    def _given_misfits(self) -> Iterator[str]:
        assert isinstance(self.init, Given)
        try:
            read_weights(self.init.path, self.layer_sizes, bias=self.network.bias)
        except ValueError as error:
            yield f"`init.path` must {error}"

    @property
    def truth_table(self) -> TruthTable:
        """The rows of the task."""
        return truth_table(**self.task.model_dump())

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Units of each layer, from input to output, bias units not counted."""
        inputs, targets = self.truth_table
        return (inputs.shape[1], *self.network.hidden, targets.shape[1])

    @property
    def slope(self) -> float:
        """Slope of leaky_relu for negative pre-activations."""
        return DEFAULT_SLOPE if self.activation.slope is None else self.activation.slope

    @property
    def given_weights(self) -> list[np.ndarray] | None:
        """Initial weights that were given, layer by layer, or None where they are drawn."""
        if not isinstance(self.init, Given):
            return None
        return read_weights(self.init.path, self.layer_sizes, bias=self.network.bias)

    @property
    def n_replicates(self) -> int:
        """How many networks this run trains."""
        given = self.given_weights
        return self.replicates if given is None else given[0].shape[0]

    @cached_property
    def config_digest(self) -> str:
        """SHA-256 over what decides the result: content, never labels, engine or place."""
        decisive = self.model_dump(
            include={"network", "activation", "init", "loss", "optimizer", "training", "seed"},
            exclude_none=True,
        )
        inputs, targets = self.truth_table
        decisive["task"] = {"inputs": inputs.tolist(), "targets": targets.tolist()}
        decisive["replicates"] = self.n_replicates
        given = self.given_weights
        if given is not None:
            arrays = {f"layer_{number}": layer for number, layer in enumerate(given, start=1)}
            decisive["init"] = {"name": "given", "weights": digest_arrays(arrays)}
        return digest_json(decisive)

    def params(self) -> dict[str, Any]:
        """Every config key, dotted; a group's own key holds the option that was chosen."""
        return {**self.labels, **dict(flat(self.model_dump(exclude={"labels"})))}

    def to_yaml(self) -> str:
        """Write the config so that `parse_config(yaml.safe_load(…))` gives it back."""
        return yaml.dump(self.model_dump(exclude_none=True), Dumper=_DUMPER, sort_keys=False)


def parse_config(raw: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> RunConfig:
    """Check a composed config against the schema.

    Parameters
    ----------
    raw
        Plain nested mapping, as composed from `conf/` or read from a run's `config.yaml`.
    labels
        The option chosen for each group; by default those in `raw`, else the options' names.

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
    try:
        config = RunConfig.model_validate({**raw, "labels": known})
    except ValidationError as error:
        raise ConfigError(describe(error)) from None
    return config.model_copy(update={"replicates": config.n_replicates})


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the values of a nested mapping by their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
