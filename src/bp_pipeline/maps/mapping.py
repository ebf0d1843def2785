"""What happens in `bp map`: from a checked config to the recorded run, its picture and its page.

Owns the order of things: find the map, or train what is missing of it; measure its boundary; record
the run whole; show it; and zoom, each window a map of its own. How networks train is left to
`pixel_shards.py`, what a store gets to `record.py`.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bp_pipeline.config import Composition, ConfigError, Job
from bp_pipeline.digests import code_digest, digest_json
from bp_pipeline.ensemble import ClusterLost, engine_in_use, open_cluster, remarks_on_engines
from bp_pipeline.files import replacing
from bp_pipeline.maps.boundary import describe_zooms, middle_of_boundary
from bp_pipeline.maps.options import MapConfig, zoomed
from bp_pipeline.maps.picture import paint, write_picture
from bp_pipeline.maps.pixel_shards import Drawing, KeptShards, count_ulp_flips
from bp_pipeline.maps.pixels import pixels_of
from bp_pipeline.maps.record import (
    PICTURE,
    SECONDS,
    ULP_FLIPS,
    Map,
    metrics_of,
    read_map,
    write_map,
)
from bp_pipeline.maps.viewer import write_viewer
from bp_pipeline.terminal import counted, say, training_progress
from bp_pipeline.tracking import Reader, TrackingError, Writer, open_for_writing
from bp_pipeline.tracking.format import (
    CODE_DIGEST,
    COMMAND,
    CONFIG_DIGEST,
    DESCRIPTION,
    KIND,
    MAP,
    RESULT_DIGEST,
    metrics_at_once,
    run_tags,
    unbroken,
)
from bp_pipeline.tracking.provenance import package_version

if TYPE_CHECKING:
    from bp_pipeline.ensemble.dask_cluster import DaskCluster

Where = Mapping[str, Any] | None  # what a cluster says of itself

REPORTS = Path("reports")
PAGE = "map.html"
_LONGEST_NAME = 80  # characters of a map's name in that of its folder


def run_maps(composition: Composition, n_zooms: int = 0) -> int:
    """Draw maps one after another, and zoom into each; record and show each window.

    Parameters
    ----------
    composition
        Jobs whose configs are `MapConfig`s, and what was typed.
    n_zooms
        How often to go on in a tenth of the window.

    Returns
    -------
    int
        Exit code: 0, or 1 where the store or the cluster failed after training had begun.

    Raises
    ------
    ConfigError
        Where jobs ask for different stores or clusters, or the cluster cannot be used.
    TrackingError
        Where the store cannot be used; nothing was trained then.
    """
    for section, another in (("tracking", "store"), ("cluster", "place")):
        composition.check_common(section, another)
    tracking = composition.jobs[0].config.tracking
    try:
        if tracking.name == "off":
            place = REPORTS if REPORTS.exists() else Path()
            if not (place.is_dir() and os.access(place, os.W_OK)):
                raise TrackingError(
                    f"The map would be nowhere: {REPORTS}/ cannot be written, and tracking is off."
                )
            return _draw_all(composition, n_zooms, None)
        with open_for_writing(tracking.uri, tracking.experiment) as writer:
            try:
                return _draw_all(composition, n_zooms, writer)
            except TrackingError as error:
                say(str(error))
                return 1
    except ClusterLost as error:
        say(str(error))
        return 1


def show_map(reader: Reader, name: str | None, folder: Path | None = None) -> bool:
    """Write picture and page of a recorded map into a folder, and print what matters.

    Parameters
    ----------
    reader
        The store that the map is in.
    name
        As in `record.read_map`.
    folder
        Where to write; by default a folder of `reports/` named after the map.

    Returns
    -------
    bool
        Whether it is not corrupt, which else is said.
    """
    return not _show_recorded(reader, name, folder).corrupt


def _show_recorded(reader: Reader, name: str | None, folder: Path | None = None) -> Map:
    map_ = _show(read_map(reader, name), folder)
    if map_.corrupt:
        say(f"Corrupt: {map_.name} ({map_.run_id}): {map_.corrupt}")
    return map_


# -------------------------------------------------------------------------------------- windows


def _draw_all(composition: Composition, n_zooms: int, writer: Writer | None) -> int:
    is_intact = True
    for job in composition.jobs:
        assert isinstance(job.config, MapConfig)
        name = _name(job, alone=len(composition.jobs) == 1)
        windows = _draw_windows(name, job.config, composition.command, n_zooms, writer)
        is_intact &= not any(window.corrupt for window in windows)
    return int(not is_intact)


def _name(job: Job, *, alone: bool) -> str:
    """Name a map by its axes, and by what varies or else by where it starts from."""
    config = job.config
    assert isinstance(config, MapConfig)
    axes = " × ".join(axis.key.partition(".")[2] for axis in config.map.axes())
    labels = config.labels
    return f"{axes} · " + (f"{labels['activation']} · {labels['init']}" if alone else job.name)


def _draw_windows(
    name: str, config: MapConfig, command: str, n_zooms: int, writer: Writer | None
) -> list[Map]:
    windows = [_draw_window(name, config, command, writer)]
    for level in range(1, n_zooms + 1):
        further = next_window(windows[-1])
        if further is None:
            break
        windows.append(_draw_window(f"{name} · zoom {level}", further, command, writer))
    if n_zooms:
        print(describe_zooms([window.boundary for window in windows]))
    return windows


def next_window(map_: Map) -> MapConfig | None:
    """Return a tenth of a map's window around its boundary; None, said on stderr, where none is."""
    middle = middle_of_boundary(map_.result.inside(map_.config.map.boundary))
    if middle is None:
        say("There is no boundary in this window to zoom into.")
        return None
    row, column = middle
    try:
        return zoomed(map_.config, float(map_.result.x[column]), float(map_.result.y[row]))
    except ConfigError:  # the pixels of the window would have the same values
        say("Doubles have run out: a tenth of this window has no room for as many values.")
        return None


def _draw_window(name: str, config: MapConfig, command: str, writer: Writer | None) -> Map:
    if writer is None:
        return _show(_draw(name, config, command, KeptShards(None))[0])
    digest = digest_json({"config": config.config_digest, "code": code_digest()})
    with writer.lock_sweep(digest, _say_waiting):
        known = writer.find_same(config.config_digest, code_digest())
        if known is not None and not config.sweep.rerun:
            run_id = known.run_id
            say(f"Complete: this map is run {run_id}. `sweep.rerun=true` draws it anew.")
            return _show_recorded(writer, run_id)
        kept = KeptShards(writer.unfinished(digest))
        map_, where = _draw(name, config, command, kept)
        map_ = _show(map_, writer=writer, where=where)
        kept.remove()
        return map_


def _say_waiting() -> None:
    say("Another process is drawing this map; waiting for it to end.")


def _draw(name: str, config: MapConfig, command: str, kept: KeptShards) -> tuple[Map, Where]:
    """Train what is missing of a map and measure its boundary; return where that was done, too."""
    with open_cluster(config.cluster, config.threads, say) as cluster:
        map_ = _train(name, config, command, kept, cluster)
        return map_, cluster.description if cluster else None


def _train(
    name: str, config: MapConfig, command: str, kept: KeptShards, cluster: "DaskCluster | None"
) -> Map:
    pixels, engine, threads = pixels_of(config), config.engine, config.threads
    drawing = Drawing(pixels, kept)
    n_networks, n_missing = pixels.n_networks, drawing.n_missing
    done = f", {n_networks - n_missing:,} already done" if n_missing < n_networks else ""
    say(f"{counted(n_missing, 'network')} to train for a map of {_size(config)} pixels{done}")
    for remark in remarks_on_engines({config.engine}):
        say(remark)
    started, shards = perf_counter(), drawing.n_missing_shards
    with training_progress(shards, n_missing * config.training.epochs, noun="shard") as progress:
        result = drawing.finish(
            engine=engine,
            threads=threads,
            progress=progress.count_network_epochs,
            shard_done=progress.count_run,
            cluster=cluster,
        )
    what = config.map.boundary
    flips = count_ulp_flips(pixels, result, what, engine=engine, threads=threads, cluster=cluster)
    measures = {ULP_FLIPS: flips, SECONDS: perf_counter() - started}
    map_ = Map("", name, command, config, result, measures)
    return replace(map_, metrics=metrics_of(map_))


# ---------------------------------------------------------------------------------------- shown


def _show(
    map_: Map,
    folder: Path | None = None,
    *,
    writer: Writer | None = None,
    where: Where = None,
) -> Map:
    """Make the picture, record the map if there is where to, and print what matters."""
    with TemporaryDirectory(prefix="bp_pipeline-") as made:
        picture = Path(made) / PICTURE
        _write_picture(picture, map_)
        if writer is not None:
            map_ = replace(map_, run_id=_record(map_, picture, writer, where))
        name = re.sub(r"[^\w.]+", "-", map_.name)[:_LONGEST_NAME]
        folder = folder or REPORTS / f"{name}-{map_.config.config_digest[:8]}"
        write_viewer(Path(made) / PAGE, map_, picture)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in (PICTURE, PAGE):
                with replacing(folder / file) as new:
                    shutil.copyfile(Path(made) / file, new)
        except OSError as error:
            raise TrackingError(
                f"The map cannot be written to {folder}: {error.strerror or error}. "
                "Name another folder: bp report RUN --out DIR."
            ) from error
    print("\n".join([f"{map_.name}: {_rates(map_)}.", *map_.verdict()]))
    print(f"Picture: {folder / PICTURE}\nPage: {folder / PAGE}")
    if map_.run_id:
        print(f"Run {map_.run_id}")
    return map_


def _rates(map_: Map) -> str:
    return ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in map_.result.rates().items())


def _record(map_: Map, picture: Path, writer: Writer, where: Where) -> str:
    """Record a map and return its run's id."""

    def write(folder: Path) -> None:
        write_map(folder, map_.config, map_.result)
        shutil.copyfile(picture, folder / PICTURE)

    own = {KIND: MAP, COMMAND: map_.command, RESULT_DIGEST: map_.result.result_digest}
    said = " ".join([f"Of its networks: {_rates(map_)}.", *map_.verdict()])
    return writer.record_files(
        map_.config,
        write,
        metrics_at_once(map_.metrics),
        name=map_.name,
        tags={**run_tags(map_.config, None), **own, DESCRIPTION: unbroken(said)},
        seconds=map_.metrics[SECONDS],
        engine=engine_in_use(map_.config.engine),
        cluster=where,
    )


def _write_picture(path: Path, map_: Map) -> None:
    config = map_.config
    sizes, labels = "-".join(map(str, config.layer_sizes)), config.labels
    title = (
        f"{labels['task']} on {sizes} {labels['activation']}, {labels['init']}, "
        f"{labels['optimizer']}, {config.training.epochs:,} epochs: {_size(config)} networks"
    )
    text = {
        "Title": title,
        "Software": f"bp_pipeline {package_version()}",
        "Command": map_.command,
        CONFIG_DIGEST: config.config_digest,
        CODE_DIGEST: code_digest(),
        RESULT_DIGEST: map_.result.result_digest,
    }
    x, y = config.map.axes()
    painting = paint(map_.result, config.map.boundary)
    write_picture(path, painting, x, y, title=title, subtitle=map_.verdict()[0], text=text)


def _size(config: MapConfig) -> str:
    x, y = config.map.axes()
    replicates = f" × {config.replicates}" if config.replicates > 1 else ""
    return f"{x.n_pixels:,} × {y.n_pixels:,}{replicates}"
