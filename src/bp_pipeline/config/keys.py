"""The config keys, section by section: their ranges, what they mean, and what they are by default.

Owns the one declaration of each key: messages, `docs/config.md` and the tests of bad values are
made from it. Which values go together is left to `schema.py`, what they do to `core`.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from bp_pipeline.config.errors import without_passwords
from bp_pipeline.core.activations import ACTIVATIONS
from bp_pipeline.core.losses import LOSSES

_NAN, _INF = float("nan"), float("inf")
MOST_WORKERS = 1024  # threads or processes of one machine, all of which are started at once


def declare(meaning: str, example: str, *bad: Any, **rule: Any) -> Any:
    """Declare a config key, with what users are told about it, and what tests try on it.

    Parameters
    ----------
    meaning
        What `docs/config.md` says; of a key that only some options have, their names come first.
    example
        A value that is accepted, as it is typed; messages end with it.
    bad
        Values that must be refused, the first ones out of range among them.
    rule
        The range, and perhaps the default, as pydantic's `Field` takes them.
    """
    told: dict[str, Any] = {"example": example, "bad": bad}
    return Field(description=meaning, json_schema_extra=told, **rule)


def number(meaning: str, example: str, *bad: Any, **rule: Any) -> Any:
    """Declare a key whose value is a finite number."""
    bad = (*bad, _NAN, _INF, "1", True, [0.1])
    return declare(meaning, example, *bad, allow_inf_nan=False, **rule)


def integer(meaning: str, example: str, *bad: Any, **rule: Any) -> Any:
    """Declare a key whose value is an integer."""
    return declare(meaning, example, *bad, 2.0, 2.5, _NAN, "1", True, **rule)


def flag(meaning: str) -> Any:
    """Declare a key whose value is true or false."""
    return declare(meaning, "true", 1, "yes", _NAN, None)


def _named_in(table: Mapping[str, object]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"must be one of {', '.join(table)}")
        return name

    return AfterValidator(check)


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rows = Annotated[list[Annotated[list[Finite], Field(min_length=1)]], Field(min_length=1)]
ActivationName = Annotated[str, _named_in(ACTIVATIONS), WithJsonSchema({"enum": [*ACTIVATIONS]})]
LossName = Annotated[str, _named_in(LOSSES), WithJsonSchema({"enum": [*LOSSES]})]


class Section(BaseModel):
    """A group of keys, of which none may be missing, and no other given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BooleanTask(Section):
    """A Boolean function of two inputs."""

    name: Literal["xor", "and", "or", "nand", "nor", "xnor"]


class ParityTask(Section):
    """Parity of `bits` inputs."""

    name: Literal["parity"]
    bits: int = integer("`parity`: how many inputs", "3", 1, 11, ge=2, le=10)


class TableTask(Section):
    """Rows of the user's own."""

    name: Literal["table"]
    inputs: Rows = declare(
        "`table`: a row for each sample", "[[0,0],[0,1],[1,0],[1,1]]", [], "xor", None
    )
    targets: Rows = declare("`table`: a row for each sample", "[[0],[1],[1],[0]]", [], 1, None)

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


class Network(Section):
    """The layers between input and output, and what the output is."""

    hidden: list[Annotated[int, Field(ge=1)]] = declare(
        "widths of the hidden layers; `[]`: none", "[3]", 3, "[3]", None
    )
    bias: bool = flag("a bias unit of value 1 in every layer but the last")
    train_bias: bool = flag("whether the bias units' weights are updated")
    output: ActivationName = declare(
        "activation of the output layer", "sigmoid", "softmax", True, None
    )


class Activation(Section):
    """The activation of the hidden layers; `slope` belongs to leaky_relu."""

    name: ActivationName
    slope: float | None = number(
        "`leaky_relu`: slope for negative pre-activations", "0.01", -0.1, default=None, ge=0
    )

    @model_validator(mode="after")
    def _slope_where_it_counts(self) -> "Activation":
        if (self.slope is not None) != (self.name == "leaky_relu"):
            raise ValueError(
                "`activation.slope` must be given for leaky_relu, and only for it, "
                f"got {self.slope} with {self.name}"
            )
        return self


class _Init(Section):
    scale: float = number("the initial weights are multiplied by this", "2.0", 0, default=1.0, gt=0)


class _Drawn(_Init):
    bias: Literal["same", "zero"] = declare(
        "bias weights drawn like the others, or 0", "zero", "ones", 0, None
    )


class Constant(_Drawn):
    """Every weight `value`, plus uniform noise in ±`noise`."""

    name: Literal["constant"]
    value: float = number("`ones`, `constant`: every weight", "1.0", None)
    noise: float = number(
        "`ones`, `constant`: uniform in ± this, added to each weight", "0.1", -1, default=0.0, ge=0
    )


class Uniform(_Drawn):
    """Uniform in ±`bound`."""

    name: Literal["uniform"]
    bound: float = number("`uniform`, `uniform_small`: uniform in ± this", "1.0", 0.0, None, gt=0)


class Normal(_Drawn):
    """Normal with mean 0 and standard deviation `std`."""

    name: Literal["normal"]
    std: float = number("`normal`: standard deviation", "1.0", 0.0, -1.0, None, gt=0)


class VarianceScaling(_Drawn):
    """Variance `variance_factor` / fan, from a uniform, normal or truncated normal distribution."""

    name: Literal["variance_scaling"]
    variance_factor: float = number(
        "variance scaling: variance = variance_factor / fan", "2.0", 0, None, gt=0
    )
    fan: Literal["in", "out", "average"] = declare(
        "variance scaling: the fan to divide by", "in", "both", None
    )
    distribution: Literal["uniform", "normal", "truncated_normal"] = declare(
        "variance scaling: what to draw from", "uniform", "cauchy", None
    )

    @model_validator(mode="before")
    @classmethod
    def _read_old_files(cls, raw: Any) -> Any:
        """Read a file from when `variance_factor` was called `scale`."""
        if not isinstance(raw, Mapping) or "variance_factor" in raw or "scale" not in raw:
            return raw
        others = {key: value for key, value in raw.items() if key != "scale"}
        return {**others, "variance_factor": raw["scale"]}


class Given(_Init):
    """Weights read from the `.npz` file `path`."""

    name: Literal["given"]
    path: str = declare(
        "`given`: an `.npz` file, such as a run's `weights/final.npz`", "FILE.npz", None, 3
    )


class Loss(Section):
    """What gradient descent makes smaller."""

    name: LossName
    reduction: Literal["mean", "sum"] = declare(
        "of the batch gradient over samples", "mean", "max", None
    )


class Optimizer(Section):
    """How the weights follow the gradient."""

    name: Literal["batch_gd", "online_gd"]
    learning_rate: float = number("size of a step", "0.5", 0, -0.1, None, gt=0)
    momentum: float = number(
        "share of the last step that is taken again", "0.9", 1, -0.5, None, ge=0, lt=1
    )
    layer_factors: list[Positive] | None = declare(
        "the learning rate of each layer with weights, from the first one, is multiplied by these; "
        "`null`: all by 1", "null", 2, "[1,2]", [], [1], [1, 2, 3], default=None,
    )  # fmt: skip


class Training(Section):
    """How long, when to call it converged, and what is recorded on the way."""

    epochs: int = integer("passes over the truth table", "2000", -1, 2**53 + 1, ge=0, le=2**53)
    tolerance: float = number(
        "converged: every output this close to its target", "0.4", 0, 0.51, None, gt=0, le=0.5
    )
    stop_when_converged: bool = flag("a converged replicate trains no further")
    record: int = integer("epochs whose loss is kept, at most; log-spaced", "60", 1, None, ge=2)
    record_weights: int = integer(
        "replicates whose weights are kept at these epochs", "4", -1, None, ge=0
    )


class Tracking(Section):
    """Where results are kept."""

    name: Literal["local", "off"]
    experiment: str = declare(
        "its name in MLflow", "bp_pipeline", "", 3, None, default="bp_pipeline", min_length=1
    )
    uri: str | None = declare(
        "MLflow's tracking URI; `MLFLOW_TRACKING_URI` wins", "FILE.db", 5000, default=None
    )

    @field_serializer("uri")
    def _without_password(self, uri: str | None) -> str | None:
        return None if uri is None else without_passwords(uri)


class Cluster(Section):
    """Where shards are trained; `scheduler` and `workers` belong to `dask`."""

    name: Literal["local", "dask"]
    scheduler: str | None = declare(
        "`dask`: address of a scheduler; `null`: `DASK_SCHEDULER_ADDRESS`", "tcp://HOST:8786", "",
        8786, default=None, min_length=1,
    )  # fmt: skip
    workers: int | None = integer(
        "`dask`: start so many workers on this machine", "2", 0, MOST_WORKERS + 1, default=None,
        ge=1, le=MOST_WORKERS,
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_place(self) -> "Cluster":
        given = {key: getattr(self, key) for key in ("scheduler", "workers")}
        given = {key: value for key, value in given.items() if value is not None}
        if self.name == "local" and given:
            [(key, value), *_] = given.items()
            raise ValueError(
                f"`cluster.{key}` must be left out for cluster=local, got {value!r}. "
                "Add `cluster=dask`."
            )
        if len(given) == 2:
            raise ValueError(
                f"`cluster.workers` must be left out where there is a scheduler, got "
                f"{self.workers} and {self.scheduler!r}. Leave one out."
            )
        return self


LOCAL = Cluster(name="local")


class Sweep(Section):
    """How a sweep treats what is already there."""

    rerun: bool = flag("train a complete sweep anew")


def conf_folder() -> Path:
    """Find the option files: inside an installed package, or beside `src/` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


@cache
def default_options() -> dict[str, str]:
    """Return the groups that `conf/config.yaml` chooses an option of, and which one."""
    entries = [entry for entry in _read("config.yaml")["defaults"] if isinstance(entry, dict)]
    chosen = {str(group): option for entry in entries for group, option in entry.items()}
    return {group: option for group, option in chosen.items() if "override" not in group}


def default_values(options: Mapping[str, str]) -> dict[str, Any]:
    """Return what the shipped files say of each dotted key, where these options are chosen."""
    values = _read("config.yaml")
    del values["defaults"], values["hydra"]
    for group, option in options.items():
        if (conf_folder() / group / f"{option}.yaml").is_file():
            values[group] = _read(f"{group}/{option}.yaml")
    return dict(flat(values))


def _read(name: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where it is built
    return yaml.load((conf_folder() / name).read_text(encoding="utf-8"), loader)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested mapping by their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def declared_keys(section: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Return the declaration of each key of a section, by its dotted name."""
    found: dict[str, FieldInfo] = {}
    for name, info in section.model_fields.items():
        members = get_args(info.annotation) or (info.annotation,)
        nested = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
        for member in nested:
            for key, declaration in declared_keys(member, f"{prefix}{name}.").items():
                found.setdefault(key, declaration)
        if not nested and name != "labels":  # which are no key
            found[prefix + name] = info
    return found
