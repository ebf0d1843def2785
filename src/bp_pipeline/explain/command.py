"""`bp explain`: its arguments, and what is said where they are wrong.

Owns the command line of the explanation, and which run it asks for: overrides are composed as
`bp train` does, a recorded run is read from its store. The modules that know a step are imported
when the request is known to make sense.
"""

import re
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bp_pipeline.config import ConfigError, RunConfig, compose
from bp_pipeline.config.errors import suggest

if TYPE_CHECKING:
    from bp_pipeline.tracking import Recorded

_FORMATS = ("terminal", "md", "html", "json")
_RUN_ID = re.compile("[0-9a-f]{6,}")  # as MLflow makes them, and no override
_NUMBERS = {
    "sample": "row of the truth table, from 0",
    "epoch": "epochs before the step, from 0",
    "replicate": "draw of initial weights, from 0",
}
_MANY_EPOCHS = 50_000  # of which 100 to 200 µs each make a wait of some seconds
_DESCRIPTION = """\
Show one training step number by number: the forward pass at each unit, the loss, the delta of each
unit, the gradient and the new value of each weight. Every line has the formula, the formula with
numbers in, and the result. The numbers are those that training computes, bit for bit.
"""
_EPILOG = """\
names
  X1, Z1, D0   input, hidden and output units; X0 and Z0 are bias units of value 1
  W10, V01     weights to hidden and to output units: first the unit it leads to, then where from
  w[2][0, 1]   in place of W and V, where there are more hidden layers or more than nine units in a
               layer: the weight of layer 2 from unit 0 to unit 1
  Z[2][1]      where there are more hidden layers: unit 1 of layer 2
  a_Z1, δ_Z1   pre-activation, and ∂loss/∂a; y_D0 is a target, η the learning rate (η₁, η₂ where
  v_W10, L₂    layers have their own), μ the momentum, v a velocity, L₂ the loss of sample 2

numbers
  Results have the fewest digits that read back as the same double. Those put into a formula are
  rounded to 6 significant ones, and long sums are shortened, except in json, which has all.
  Losses are in nats.

examples
  bp explain experiment=article                     the article's numbers beside its own equations
  bp explain activation=tanh init=glorot_uniform --sample 2 --epoch 10
  bp explain optimizer=online_gd optimizer.momentum=0.9 --replicate 3
  bp explain 'network.hidden=[4,4]' --format html --out step.html
  bp explain RUN --epoch 100                        a step that a recorded run took

`bp train --help` lists what OVERRIDES may be.
"""


def run(arguments: Sequence[str]) -> int:
    """Explain the step that the arguments of `bp explain` ask for; return the exit code.

    Raises
    ------
    ConfigError
        Where the request is wrong.
    """
    chosen = _parser().parse_intermixed_args(arguments)
    numbers = {name: _number(name, getattr(chosen, name)) for name in _NUMBERS}
    if chosen.format not in _FORMATS:
        raise ConfigError(
            f"`--format` must be one of its options, got {chosen.format!r}. "
            f"{suggest(chosen.format, list(_FORMATS))}"
        )
    with _asked_for(chosen) as (config, recorded):
        from bp_pipeline.explain import FORMATS, explain_step

        with _announced(numbers["epoch"]) as progress:
            explanation = explain_step(config, **numbers, progress=progress, recorded=recorded)
    text = FORMATS[chosen.format](explanation)
    if chosen.out is None:
        sys.stdout.write(text)
    else:
        _write(chosen.out, text)
    return 0


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"`{self.prog}` cannot be asked so: {message}. See `{self.prog} --help`.")


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="bp explain",
        usage="%(prog)s [OVERRIDES | RUN] [--sample N] [--epoch E] [--replicate K] [--format F] "
        "[--out FILE]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add, formats = parser.add_argument, f"{{{','.join(_FORMATS)}}}"
    add("words", nargs="*", metavar="OVERRIDES | RUN",
        help="the run, as in `bp train OVERRIDES`, or the id of a recorded one")  # fmt: skip
    for (name, what), letter in zip(_NUMBERS.items(), "NEK", strict=True):
        add(f"--{name}", metavar=letter, default="0", help=f"{what} (default: 0)")
    add("--format", metavar=formats, default="terminal",
        help="default: terminal; html has a diagram of the network")  # fmt: skip
    add("--out", metavar="FILE", type=Path, help="write there (default: stdout)")
    add("--config-dir", metavar="DIR", help="take option files from DIR too")
    add("--experiment", metavar="NAME", default="bp_pipeline",
        help="of MLflow, in whose store RUN is looked for (default: %(default)s)")  # fmt: skip
    add("--multirun", "-m", action="store_true", help=SUPPRESS)
    return parser


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        problem = f"`--{name}` must be a whole number, got {text!r}. Try `--{name} 0`."
        raise ConfigError(problem) from None


@contextmanager
def _asked_for(chosen: Namespace) -> Iterator[tuple[RunConfig, "Recorded | None"]]:
    """Yield the config of the run that is asked for, and where it was recorded, if it was."""
    if not any(map(_RUN_ID.fullmatch, chosen.words)):
        yield _composed(chosen), None
        return
    from bp_pipeline.tracking import TrackingError

    if len(chosen.words) > 1 or chosen.config_dir is not None:
        raise ConfigError(
            "`bp explain` must be asked for overrides or for one RUN, got "
            f"{' '.join(chosen.words)!r}. Leave out the others: a recorded run has its own config."
        )
    try:
        with _recorded(chosen.words[0], chosen.experiment) as found:
            yield found
    except TrackingError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def _recorded(run_id: str, experiment: str) -> Iterator[tuple[RunConfig, "Recorded"]]:
    """Yield the config of a recorded run, whose given weights are there as long as this lasts."""
    from bp_pipeline.tracking import RunsToVerify
    from bp_pipeline.tracking.format import GIVEN_WEIGHTS, INITIAL_WEIGHTS, read_config

    with RunsToVerify.open(None, experiment) as store:
        [run] = store.find([run_id])
        with store.artifacts(run_id, "config.yaml", INITIAL_WEIGHTS, GIVEN_WEIGHTS) as folder:
            try:
                config = read_config(folder)
            except (OSError, ConfigError) as error:
                problem = "; ".join(str(error).splitlines())
                raise ConfigError(
                    f"`RUN` must have a config.yaml that can be used, got {run_id!r}: {problem}"
                ) from None
            yield config, run


def _composed(chosen: Namespace) -> RunConfig:
    folder, flags = chosen.config_dir, ["--multirun"] if chosen.multirun else []
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(
            f"`--config-dir` must be a folder, got {folder!r}. Name one that has option files."
        )
    flags += [] if folder is None else ["--config-dir", folder]
    asked = compose([*flags, *chosen.words], program="bp explain")
    if len(asked.jobs) != 1:
        raise ConfigError(
            f"`bp explain` must be asked for one run, got a sweep of {len(asked.jobs)} "
            f"({asked.sweep_name}). Give one value to every key that it varies."
        )
    return asked.jobs[0].config


@contextmanager
def _announced(n_epochs: int) -> Iterator[Callable[[int], None] | None]:
    """Say, once they begin, that many epochs come before the step; on a terminal, count them."""
    if n_epochs < _MANY_EPOCHS:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    from bp_pipeline.terminal import say

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)

    def advance(n_done: int) -> None:
        if not bar.tasks:
            say(f"Training {n_epochs:,} epochs before the step, by `engine=numpy`: it is watched.")
            bar.add_task("epochs", total=n_epochs)
            bar.start()
        bar.advance(bar.tasks[0].id, n_done)

    try:
        yield advance
    finally:
        bar.stop()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"`--out` must be a file that can be written, got {str(path)!r} ({error.strerror}). "
            "Name a file in a folder that exists."
        ) from None
