"""Tab completion: what could stand at the end of a half-typed line.

Owns which words fit where. What a command takes is read off its own help, so that it is declared
once; overrides are completed by Hydra; what a store or a folder has is looked up there. A line that
is wrong, or a store that cannot be read, is no mistake here: nothing is offered.
"""

import io
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout

Command = Callable[[Sequence[str]], int]

# Those of Hydra's own that help here; its help does not list them.
_HYDRAS = ("--multirun", "--cfg", "--info", "--config-dir", "--package", "--resolve", "--help",
           "--hydra-help")  # fmt: skip
_VALUES = {"--cfg": "{job,hydra,all}", "--config-dir": "DIR", "--package": "NAME"}
_EXPERIMENT = ArgumentParser(add_help=False, exit_on_error=False)
_EXPERIMENT.add_argument("--experiment", default="bp_pipeline")


def candidates(query: str, line: str, commands: Mapping[str, Command]) -> list[str]:
    """Return what the last word of a line could become.

    Parameters
    ----------
    query
        What the shell's completion script asks: `query=SHELL`.
    line
        `bp …`, as far as it is typed.
    commands
        The commands that `bp` has.
    """
    name, *words = line.lstrip().partition(" ")[2].lstrip().split(" ")
    if not words:
        return _fitting(commands, name)
    try:
        with redirect_stderr(io.StringIO()):
            return _of_command(query, name, commands[name], words)
    except (Exception, SystemExit):
        return []


def _of_command(query: str, name: str, command: Command, words: Sequence[str]) -> list[str]:
    *before, last = words
    flags, positional = _taken(name, command)
    option, is_joined, begun = last.partition("=") if last.startswith("-") else ("", "", last)
    if not is_joined:
        option = next((word for word in reversed(before) if word.startswith("-")), "")
        is_last = before[-1:] == [option] or "..." in flags.get(option, "")
        option = option if is_last and flags.get(option) else ""
        if not option and last.startswith("-"):
            return _fitting(flags, last)
    kind = flags.get(option, "") if option else positional
    if "OVERRIDES" in kind:
        from bp_pipeline.config.compose import complete

        given = (word for word in before if "=" in word and not word.startswith("-"))
        return complete(query, " ".join([name, *given, last]))
    values = _experiments() if option == "--experiment" else _values(kind, before)
    prefix = f"{option}=" if is_joined else ""
    return [prefix + word for word in _fitting(values, begun)]


def _taken(name: str, command: Command) -> tuple[dict[str, str], str]:
    """Return the flags of a command, each with its metavar, and what else it takes."""
    if name in ("train", "map"):
        flags = {flag: _VALUES.get(flag, "") for flag in _HYDRAS}
        return flags | ({"--zoom": "N"} if name == "map" else {}), "OVERRIDES"
    page = io.StringIO()
    try:
        with redirect_stdout(page):
            command(["--help"])
    except SystemExit:  # argument parsers end so
        pass
    _, _, taken = page.getvalue().partition("positional arguments:\n")
    flags = dict(re.findall(r"^  (?:-\w, )?(--[\w-]+) ?(.*?)(?:  .*)?$", page.getvalue(), re.M))
    return flags, taken.partition("\n\n")[0].upper()


def _values(kind: str, before: Sequence[str]) -> Iterable[str]:
    if kind[:1] == "{":
        return kind.strip("{}").split(",")
    if "STUDY" in kind:
        from bp_pipeline.reproduce.baselines import studies_with_baselines

        return studies_with_baselines()
    if "SWEEP" in kind:
        from bp_pipeline.report.listing import names_of_sweeps
        from bp_pipeline.tracking import open_for_reading

        experiment = _EXPERIMENT.parse_known_args(before)[0].experiment
        with open_for_reading(None, experiment) as reader:
            return names_of_sweeps(reader)
    return []


def _experiments() -> Iterable[str]:
    from bp_pipeline.tracking import experiment_names, resolve_uri

    return [name for name in experiment_names(resolve_uri(None)) if not re.search(r"\s", name)]


def _fitting(words: Iterable[str], begun: str) -> list[str]:
    return [word for word in words if word.startswith(begun)]
