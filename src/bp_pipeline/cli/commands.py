"""The commands of `bp`: each reads its arguments and hands over.

Owns the arguments of each command. What it does is left to the stages, which are imported when the
arguments are known to be right.
"""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

from bp_pipeline.cli.parsers import (
    Parser,
    add_folder,
    in_experiment,
    port_number,
    positive_number,
    sweep_parser,
)
from bp_pipeline.cli.process import FAILED, OK, Stopped


def train(arguments: Sequence[str]) -> int:
    """Run `bp train [OVERRIDES] [--multirun]`: a Hydra application."""
    from bp_pipeline.config import compose

    composition = compose(arguments)
    if not composition.jobs:  # Hydra was only asked to show something
        return OK
    from bp_pipeline.sweep import run_jobs

    return run_jobs(composition)


def draw_map(arguments: Sequence[str]) -> int:
    """Run `bp map [OVERRIDES] [--zoom N]`: a Hydra application."""
    parser = Parser(prog="bp map", add_help=False, allow_abbrev=False)
    parser.add_argument("--zoom", type=positive_number, default=0)
    chosen, rest = parser.parse_known_args(arguments)
    from bp_pipeline.maps import compose_maps

    composition = compose_maps(rest)
    if not composition.jobs:
        return OK
    from bp_pipeline.maps import run_maps

    return run_maps(composition, chosen.zoom)


def report(arguments: Sequence[str]) -> int:
    """Run `bp report [SWEEP] [--out DIR]`."""
    parser = sweep_parser("bp report", "Write and print the report of a sweep, or of a map.")
    add_folder(parser)
    chosen = parser.parse_args(arguments)
    from bp_pipeline.tracking import MAP, open_for_reading

    with open_for_reading(None, chosen.experiment) as reader:
        if chosen.sweep is not None and reader.is_of_kind(MAP, chosen.sweep):
            from bp_pipeline.maps import show_map as show
        else:
            from bp_pipeline.report.publish import report_sweep as show
        is_intact = show(reader, chosen.sweep, chosen.out)
    return OK if is_intact else FAILED


def list_(arguments: Sequence[str]) -> int:
    """Run `bp list`."""
    description = "List the sweeps and maps that are recorded here, the newest first."
    parser = in_experiment(Parser("bp list", description=description))
    experiment = parser.parse_args(arguments).experiment
    from bp_pipeline.report import list_sweeps, print_sweeps
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(None, experiment) as reader:
        listed = list_sweeps(reader)
    print_sweeps(listed)
    return OK


def champion(arguments: Sequence[str]) -> int:
    """Run `bp champion [SWEEP]`."""
    parser = sweep_parser("bp champion", "Make the champion of a sweep the one that is served.")
    chosen = parser.parse_args(arguments)
    from bp_pipeline.report.publish import crown_champions
    from bp_pipeline.tracking import open_for_reading, open_for_writing

    with open_for_reading(None, chosen.experiment) as reader:  # which makes no store
        run_id = reader.find_sweep(chosen.sweep).run_id
    with open_for_writing(None, chosen.experiment) as writer:
        crown_champions(writer, run_id)
    return OK


def compare(arguments: Sequence[str]) -> int:
    """Run `bp compare SWEEP SWEEP [--out DIR]`."""
    description = "Compare two sweeps: what was asked, and what came out, with tests."
    parser = Parser("bp compare", description=description)
    parser.add_argument("sweeps", nargs=2, metavar="SWEEP", help="id, digest or name, or beginning")
    add_folder(parser)
    chosen = in_experiment(parser).parse_args(arguments)
    from bp_pipeline.report.publish import compare_sweeps
    from bp_pipeline.tracking import open_for_reading

    with open_for_reading(None, chosen.experiment) as reader:
        first, second = chosen.sweeps
        is_intact = compare_sweeps(reader, first, second, chosen.out)
    return OK if is_intact else FAILED


def reproduce(arguments: Sequence[str]) -> int:
    """Run `bp reproduce [RUN…] [--sweep ID] [--sample N] [--baselines [STUDY…]]`."""
    parser = _reproduce_parser()
    chosen = parser.parse_args(arguments)
    if chosen.studies is None and (chosen.update or chosen.quick):
        parser.error("--update and --quick belong to --baselines: add it")
    words = [*chosen.runs, *(chosen.studies or ())]  # `--baselines` takes what comes after it
    overrides = [word for word in words if word.startswith("cluster")]
    chosen.runs = [word for word in chosen.runs if word not in overrides]
    if chosen.studies is not None:
        chosen.studies = [word for word in chosen.studies if word not in overrides]
    from bp_pipeline.config import compose
    from bp_pipeline.config.keys import LOCAL
    from bp_pipeline.reproduce import Request
    from bp_pipeline.reproduce import reproduce as verify

    jobs = compose(overrides, program="bp reproduce").jobs if overrides else ()
    cluster = jobs[0].config.cluster if jobs else LOCAL
    return verify(Request(**vars(chosen), cluster=cluster))


def explain(arguments: Sequence[str]) -> int:
    """Run `bp explain [OVERRIDES | RUN] [--sample N] [--epoch E] [--replicate K] [--format F]`."""
    from bp_pipeline.cli.explain import run

    return run(arguments)


def playground(arguments: Sequence[str]) -> int:
    """Run `bp playground [OVERRIDES | RUN] [--out FILE]`."""
    from bp_pipeline.cli.playground import run

    return run(arguments)


def ui(arguments: Sequence[str]) -> int:
    """Run `bp ui [SWEEP] [--port N] [--no-browser]`."""
    parser = sweep_parser("bp ui", "Serve MLflow's UI and link to a sweep.")
    parser.add_argument(
        "--port", metavar="N", type=port_number, help="default: 5000, or a free one"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    chosen = parser.parse_args(arguments)
    return _serve_ui(chosen.experiment, chosen.sweep, chosen.port, browser=not chosen.no_browser)


def _serve_ui(experiment: str, sweep: str | None, port: int | None, *, browser: bool) -> int:
    """Serve MLflow's UI until a signal ends it; where a server keeps runs, only print its links."""
    from bp_pipeline.config import ConfigError
    from bp_pipeline.terminal import say
    from bp_pipeline.tracking import resolve_uri, ui_server

    if resolve_uri(None).startswith("http"):
        uri, pages = _sweep_pages(experiment, sweep)
        ui_server.show_pages(uri, pages, browser=browser)
        return OK
    if port is not None and not ui_server.is_free(port):
        raise ConfigError(
            f"`--port` must be free, got {port}. Leave it out, and a free one is taken."
        )
    is_shown = False
    try:
        with closing(ui_server.UiServer()) as server:
            uri, pages = _sweep_pages(experiment, sweep)
            server.serve(uri, port or ui_server.free_port())
            is_shown = True
            ui_server.show_pages(server.url, pages, browser=browser)
            say("Ctrl-C stops the server.")
            server.wait()
    except Stopped:
        if not is_shown:
            raise
    except ui_server.UiEnded as error:
        say(f"MLflow's server ended by itself: {error}")
        return FAILED
    return OK


def _sweep_pages(experiment: str, name: str | None) -> tuple[str, dict[str, str]]:
    """Return the store's URI and a sweep's pages, having made sure that there is something."""
    from bp_pipeline.report import read_sweep
    from bp_pipeline.tracking import TrackingError, open_for_reading, open_for_writing

    with open_for_reading(None, experiment) as reader:
        run_id = reader.find_sweep(name).run_id
        uri, pages = reader.uri, reader.page_links(run_id)
        if reader.has_comparison(run_id):
            if reader.is_moved:
                with suppress(TrackingError):  # somebody else's is shown as far as MLflow can
                    open_for_writing(None, experiment).close()
            return uri, pages
        sweep = read_sweep(reader, run_id)  # one that was broken off
    with open_for_writing(None, experiment) as writer:
        writer.log_comparison(run_id, sweep.varied, sweep.n_finished)
    return uri, pages


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "map": draw_map,
    "report": report,
    "list": list_,
    "compare": compare,
    "champion": champion,
    "reproduce": reproduce,
    "explain": explain,
    "playground": playground,
    "ui": ui,
}


def _reproduce_parser() -> Parser:
    parser = Parser(
        prog="bp reproduce",
        description="Train recorded runs again and compare bits; by default the newest sweep's. "
        "Exit code: 0 all identical, 1 any is not, 2 the request is wrong.",
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="*", help="run id; or where to train, as in cluster=dask")
    add("--sweep", metavar="SWEEP", help="all runs of this sweep")
    add("--sample", metavar="N", type=positive_number, help="N finished runs of the experiment")
    today = date.today().toordinal()
    add("--seed", metavar="S", type=int, default=today, help="which ones; consecutive seeds walk "
        "through all runs (default: today's number, %(default)s)")  # fmt: skip
    add("--baselines", metavar="STUDY", dest="studies", nargs="*",
        help="compare with experiments/STUDY/baseline.json (default: of all studies)")  # fmt: skip
    add("--quick", action="store_true", help="leave out studies that take longer than a minute")
    add("--update", action="store_true", help="make the results of --baselines the new baselines")
    add("--engine", choices=["numpy", "compiled"], help="what trains (default: as recorded)")
    add("--json", metavar="FILE", type=Path, help="write the verdicts as a list of objects")
    return in_experiment(parser)
