"""What a report rests on: how much was trained, from what seed, and digests that stand for it."""

import pandas as pd

from bp_pipeline.digests import digest_json
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.ordering import in_order
from bp_pipeline.report.tables import DIVERGED
from bp_pipeline.report.text import NONE, count, plain, plural

_AGAIN = (
    "This command makes it again; each run's `environment.json` has the versions of everything it "
    "was made with."
)
_NO_COMMAND = (
    "No one command asks for just these runs: `sweep.yaml`, beside this report in MLflow, lists "
    "the jobs, and each run's `config.yaml` is enough to run it again."
)


def behind(findings: Findings) -> list[tuple[str, str]]:
    """List facts by name; a digest of all results stands for them."""
    runs = findings.sweep.finished
    results = [] if "bp.result_digest" not in runs else runs["bp.result_digest"].dropna()
    return [
        ("networks", _networks(findings)),
        ("training", _training(runs)),
        ("seed", _values(runs, "seed")),
        ("bp_pipeline", _values(runs, "bp.version")),
        ("code digest", _values(runs, "bp.code_digest")),
        ("sweep digest", findings.sweep.digest),
        ("digest of all results", digest_json(sorted(map(str, results)))),
    ]


def how_again(command: str | None) -> str:
    """Say how the sweep is made again, with file names in backticks."""
    return _NO_COMMAND if command is None else _AGAIN


def _networks(findings: Findings) -> str:
    trained = int(findings.sweep.finished["replicates"].sum())
    different = int(findings.summary["n"].sum())
    copies = "" if trained == different else f" trained, {count(different)} of them different"
    return f"{count(trained)}{copies}"


def _training(runs: pd.DataFrame) -> str:
    """Count the epochs of all networks, which end early where they diverge or are told to."""
    planned = int((runs["replicates"].astype(float) * runs["training.epochs"]).sum())
    stops = runs.reindex(columns=["training.stop_when_converged"]).eq(True).any(axis=None)
    may_end_early = stops or (runs.reindex(columns=[DIVERGED]) > 0).any(axis=None)
    return f"{'up to ' if may_end_early else ''}{plural(planned, 'network-epoch')}"


def _values(runs: pd.DataFrame, column: str) -> str:
    if column not in runs:
        return NONE
    return ", ".join(map(plain, in_order(runs[column].dropna().unique())))
