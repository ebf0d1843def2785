"""Baselines: what the runs of a study came to, committed beside it, so that no store is needed.

Owns `experiments/<study>/baseline.json`: for each run its name and the digests of its config and
its result, and what they were made with. A study is what `bp train experiment=<study>` trains.
Results have the same bits on both engines, so a baseline does not name one.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from bp_pipeline.config import ConfigError, RunConfig, compose
from bp_pipeline.config.run_names import run_names
from bp_pipeline.digests import code_digest
from bp_pipeline.ensemble import RunResult
from bp_pipeline.files import replacing
from bp_pipeline.maps import MapResult, parse_any
from bp_pipeline.reproduce.verdicts import Case, Verdict
from bp_pipeline.tracking.provenance import environment, package_version

EXPERIMENTS, _FILE = Path("experiments"), "baseline.json"
QUICK = 10**10  # weights × samples × epochs of a quick study: a minute or so on a laptop


def studies_with_baselines() -> list[str]:
    """Return the names of the studies of the current folder that have a baseline."""
    return sorted(path.parent.name for path in EXPERIMENTS.glob(f"*/{_FILE}"))


def study_configs(study: str) -> list[RunConfig]:
    """Return the runs of a study, as `bp train experiment=<study>` composes them, or `bp map`.

    Raises
    ------
    ConfigError
        Where there is no such study, or it cannot be trained.
    """
    words = [f"experiment={study}"]
    jobs = compose(words, program="bp reproduce", parse=parse_any).jobs
    return [job.config for job in jobs]


def is_quick(configs: Sequence[RunConfig]) -> bool:
    """Whether a study takes little more than a minute, by how much there is to compute."""
    return sum(map(_work, configs)) <= QUICK


def cases_of(study: str, configs: Sequence[RunConfig], engine: str | None) -> list[Case | Verdict]:
    """Return the runs of a study, ready to be trained again.

    Parameters
    ----------
    study
        Its name.
    configs
        Its runs as they are composed now; those without a baseline are trained too.
    engine
        What trains; by default the engine that the configs ask for.

    Raises
    ------
    ConfigError
        Where the baseline cannot be read.
    """
    baseline = _read(study)
    made_with = baseline.get("made_with", {})
    recorded = {run["name"]: run for run in baseline.get("runs", [])}
    names = run_names(configs)
    renamed = {run["config_digest"]: run["name"] for run in recorded.values()
               if run["name"] not in names}  # fmt: skip
    cases: list[Case | Verdict] = []
    for name, config in zip(names, configs, strict=True):
        config = config.model_copy(update={"engine": engine or config.engine, "threads": None})
        missing = Verdict(name, "missing", study=study, reason="it has no baseline")
        before = name if name in recorded else renamed.get(config.config_digest, name)
        judge = partial(_judge, missing, config, recorded.pop(before, None), made_with)
        cases.append(Case(config, judge, missing))
    left = "the study no longer has such a run"
    return [*cases, *(Verdict(name, "missing", study=study, reason=left) for name in recorded)]


def could_be_trained(verdict: Verdict, configs: Sequence[RunConfig]) -> bool:
    """Whether a verdict is about a result, or about a run that its study no longer has."""
    return verdict.result_digest is not None or verdict.name not in run_names(configs)


def write_baseline(study: str, verdicts: Sequence[Verdict]) -> Path | None:
    """Make what came out now the baseline of a study, unless it is; return the path if written.

    Parameters
    ----------
    study
        Its name.
    verdicts
        Of its runs, all of which could be trained.
    """
    if all(verdict.verdict == "identical" for verdict in verdicts):
        return None
    trained = [verdict for verdict in verdicts if verdict.result_digest is not None]
    path = EXPERIMENTS / study / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_text(_text(study, trained), encoding="utf-8")
    return path


def made_with_now() -> dict[str, str | None]:
    """Return what a baseline is made with here and now."""
    versions = environment(engine="", threads=1)["packages"]
    return {
        "bp_pipeline": package_version(),
        "code_digest": code_digest(),
        "python": platform.python_version(),
        **{name: versions.get(name) for name in ("numpy", "numba", "llvmlite")},
        "system": platform.system(),
        "machine": platform.machine(),
    }


def _judge(
    missing: Verdict,
    config: RunConfig,
    recorded: Mapping[str, str] | None,
    made_with: Mapping[str, Any],
    result: RunResult | MapResult,
) -> Verdict:
    found = {"config_digest": config.config_digest, "result_digest": result.result_digest}
    if recorded is None:
        return replace(missing, **found)  # type: ignore[arg-type]
    differs = [key for key, digest in found.items() if recorded[key] != digest]
    if not differs:
        return replace(missing, verdict="identical", reason="", **found)  # type: ignore[arg-type]
    now = made_with_now()
    changes = {k: [made_with.get(k), v] for k, v in now.items() if made_with.get(k) != v}
    reason = f"another {' and another '.join(key.replace('_', ' ') for key in differs)}"
    return replace(missing, verdict="drifted", reason=reason, differs=changes, **found)  # type: ignore[arg-type]


def _work(config: RunConfig) -> int:
    """Return the cost of a run: weights × samples × epochs, over all its networks."""
    sizes, n_samples = config.layer_sizes, len(config.truth_table.inputs)
    n_weights = sum((i + 1) * o for i, o in pairwise(sizes))
    return config.n_networks * config.training.epochs * n_samples * n_weights


def _read(study: str) -> dict[str, Any]:
    path = EXPERIMENTS / study / _FILE
    if not path.is_file():
        return {}
    try:
        baseline = json.loads(path.read_text(encoding="utf-8"))
        for run in baseline["runs"]:
            run["name"], run["config_digest"], run["result_digest"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not a baseline: {error!r}. Take it back from git, or make it anew: "
            f"bp reproduce --baselines {study} --update"
        ) from None
    return baseline


def _text(study: str, trained: Sequence[Verdict]) -> str:
    """Return its text, one run a line, so that a difference shows as such lines."""
    runs = [
        {"name": v.name, "config_digest": v.config_digest, "result_digest": v.result_digest}
        for v in trained
    ]
    lines = ",\n".join(f"  {json.dumps(run, ensure_ascii=False)}" for run in runs)
    head = json.dumps({"study": study, "made_with": made_with_now()}, indent=1)
    return f'{head.removesuffix("}").rstrip()},\n "runs": [\n{lines}\n ]\n}}\n'
