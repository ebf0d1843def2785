"""From configs to results: `train_runs` trains runs side by side, `RunResult` is what each gives.

shards.py   runs become ensembles, ensembles shards, shards results
result.py   a run's arrays, curves and outcome statistics
batches.py  results as they come, while training goes on
engines.py  what trains a shard, and where
cluster.py  shards on threads of this process; dask_cluster.py, on a cluster of Dask's, to which
            dask_connection.py leads
"""

from bp_pipeline.ensemble.batches import TimeShares, batches_of_results
from bp_pipeline.ensemble.cluster import ClusterLost
from bp_pipeline.ensemble.engines import engine_in_use, open_cluster, train_function
from bp_pipeline.ensemble.result import (
    CURVES,
    DECILES,
    INTERVALS,
    SUMMARY,
    RunResult,
    in_words,
    median_epochs_to_converge,
    quantiles,
    summary_of,
    wilson_interval,
)
from bp_pipeline.ensemble.shards import (
    initial_parameters,
    learning_rates,
    remarks_on_engines,
    setup_of,
    train_runs,
)

__all__ = [
    "CURVES",
    "DECILES",
    "INTERVALS",
    "SUMMARY",
    "ClusterLost",
    "RunResult",
    "TimeShares",
    "batches_of_results",
    "engine_in_use",
    "in_words",
    "initial_parameters",
    "learning_rates",
    "median_epochs_to_converge",
    "open_cluster",
    "quantiles",
    "remarks_on_engines",
    "setup_of",
    "summary_of",
    "train_function",
    "train_runs",
    "wilson_interval",
]
