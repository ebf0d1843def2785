"""`bp explain`: its arguments, and what is said where they are wrong.

The modules that know a step are imported when the request is known to make sense.
"""

import sys
from argparse import SUPPRESS
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bp_pipeline.cli.parsers import Parser
from bp_pipeline.cli.requested_run import cannot_write, requested_run, run_parser
from bp_pipeline.config import ConfigError
from bp_pipeline.config.errors import suggest
from bp_pipeline.files import replacing

_PROGRAM = "bp explain"
_FORMATS = ("terminal", "md", "html", "json")
_FORMATS_OF_SUFFIXES = {".txt": "terminal", "": "terminal", ".htm": "html"}  # where not its name
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
    ConfigError, TrackingError
        Where the request is wrong.
    """
    chosen = _parser().parse_intermixed_args(arguments)
    numbers = {name: _number(name, getattr(chosen, name)) for name in _NUMBERS}
    form = _format(chosen.format, chosen.out)
    words = [*(["--multirun"] if chosen.multirun else []), *chosen.words]
    with requested_run(_PROGRAM, words, chosen.config_dir, chosen.experiment) as asked:
        from bp_pipeline.explain import FORMATS, explain_step

        with _announced(numbers["epoch"]) as progress:
            explanation = explain_step(
                asked.config, **numbers, progress=progress, recorded=asked.recorded
            )
    text = FORMATS[form](explanation)
    if chosen.out is None:
        sys.stdout.write(text)
        return 0
    try:
        with replacing(chosen.out) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(chosen.out, error) from None
    return 0


def _parser() -> Parser:
    options = "[--sample N] [--epoch E] [--replicate K] [--format F] [--out FILE]"
    parser = run_parser(_PROGRAM, options, _DESCRIPTION, _EPILOG)
    add, formats = parser.add_argument, f"{{{','.join(_FORMATS)}}}"
    for (name, what), letter in zip(_NUMBERS.items(), "NEK", strict=True):
        add(f"--{name}", metavar=letter, default="0", help=f"{what} (default: 0)")
    add("--format", metavar=formats,
        help="default: as FILE ends, else terminal; html has a diagram of the network")  # fmt: skip
    add("--out", metavar="FILE", type=Path, help="write there (default: stdout)")
    add("--multirun", "-m", action="store_true", help=SUPPRESS)
    return parser


def _format(name: str | None, path: Path | None) -> str:
    """Return the format that is asked for, or that the name of a file says."""
    if name is None and path is not None:
        suffix = path.suffix.lower()
        name = _FORMATS_OF_SUFFIXES.get(suffix, suffix.removeprefix("."))
        if name not in _FORMATS:
            raise ConfigError(
                f"`--out` must end in .txt, .md, .html or .json, got {str(path)!r}. Or name a "
                "`--format`."
            )
    name = name or "terminal"
    if name not in _FORMATS:
        raise ConfigError(
            f"`--format` must be one of its options, got {name!r}. {suggest(name, list(_FORMATS))}"
        )
    return name


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        problem = f"`--{name}` must be a whole number, got {text!r}. Try `--{name} 0`."
        raise ConfigError(problem) from None


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
