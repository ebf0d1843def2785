"""MLflow: what is recorded of a run, where runs are kept, and the one writer that puts them there.

Nothing outside this package imports MLflow, and nothing in it does so before a store is opened,
because that takes seconds.

    format.py          names of what MLflow shows of a run or a sweep, both ways
    run_files.py       files of a run, both ways
    chart_points.py    which points of a curve MLflow is told
    reader.py          finds sweeps, their runs and their files
    writer.py          the one writer of sweeps and runs
    ended_run.py       a run as a value, before it is written; run_picture.py, its preview
    store_tables.py    MLflow's tables: a run as a store has it, places that have moved
    transaction.py     many runs in one transaction of the embedded store
    runs_to_verify.py  finds runs to verify, and writes what came of it
    provenance.py      versions, machine and source tree that a run is made with
    saved_view.py      what MLflow's UI shows of a sweep, and the links to it
    models.py          a network as a registered model; champion_model.py, the model's code
    ui_server.py       MLflow's server with its UI, as a child process
    store.py           finds, opens and closes the place where runs are kept
    paths.py           paths as MLflow takes them, also after a store has moved
    new_store.py       makes the embedded one, whole or not at all
    server.py          asks a server or a database whether it is there
    failures.py        says in one line why a store cannot be used
"""

from bp_pipeline.tracking.ended_run import EndedRun, failed_run, trained_run
from bp_pipeline.tracking.failures import NothingYet, TrackingError
from bp_pipeline.tracking.format import MAP, Account
from bp_pipeline.tracking.models import TrainedNetwork, model_name
from bp_pipeline.tracking.reader import Reader, latest_attempts, open_for_reading
from bp_pipeline.tracking.run_files import FrozenSweep
from bp_pipeline.tracking.runs_to_verify import RunsToVerify
from bp_pipeline.tracking.saved_view import run_colours
from bp_pipeline.tracking.server import is_refusal
from bp_pipeline.tracking.store import resolve_uri
from bp_pipeline.tracking.store_tables import Recorded, experiment_names, finished_sweep
from bp_pipeline.tracking.writer import Writer, open_for_writing

__all__ = [
    "MAP",
    "Account",
    "EndedRun",
    "FrozenSweep",
    "NothingYet",
    "Reader",
    "Recorded",
    "RunsToVerify",
    "TrackingError",
    "TrainedNetwork",
    "Writer",
    "experiment_names",
    "failed_run",
    "finished_sweep",
    "is_refusal",
    "latest_attempts",
    "model_name",
    "open_for_reading",
    "open_for_writing",
    "resolve_uri",
    "run_colours",
    "trained_run",
]
