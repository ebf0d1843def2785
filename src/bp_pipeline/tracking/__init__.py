"""MLflow: what is recorded of a run, where runs are kept, and the one writer that puts them there.

Nothing outside this package imports MLflow, and nothing in it does so before a store is opened,
because that takes seconds.

    tracker.py    writes sweeps and runs, and reads them back
    reproductions.py  finds runs to verify, and writes what came of it
    records.py    what a run is in MLflow's terms
    comparison.py what MLflow's UI shows of a sweep, and the links to it
    registry.py   a network as a registered model; champion_model.py, the model's code
    ui_server.py  MLflow's server with its UI, as a child process
    store.py      finds and opens the place where runs are kept
    database.py   makes and opens the embedded one
    server.py     asks a server whether it is there
    failures.py   says in one line why a store cannot be used
"""

from bp_pipeline.tracking.failures import NothingYet, TrackingError
from bp_pipeline.tracking.models import Network
from bp_pipeline.tracking.reproductions import Recorded, Reproductions
from bp_pipeline.tracking.store import resolve_uri
from bp_pipeline.tracking.writer import Tracker

__all__ = [
    "Network",
    "NothingYet",
    "Recorded",
    "Reproductions",
    "Tracker",
    "TrackingError",
    "resolve_uri",
]
