"""A config as `backprop.mjs` takes it: the keys that decide a result, as JSON can hold them.

Owns the spelling; which keys there are and what they mean is the schema's.
"""

from typing import Any

from bp_pipeline.arrays import layer_names
from bp_pipeline.config.schema import RunConfig

_DECISIVE = {
    "task", "network", "activation", "init", "loss", "optimizer", "training", "replicates", "seed",
}  # fmt: skip


def portable_config(config: RunConfig) -> dict[str, Any]:
    """Return a config with the seed as text and given weights in place of their path.

    A seed may exceed 2⁵³, beyond which a JavaScript number loses bits. Given weights are nested
    lists, (replicate, row, fan_out), by the names `layer_1`, ….
    """
    portable = config.model_dump(include=_DECISIVE, exclude_none=True)
    portable["seed"] = str(config.seed)
    given = config.given_weights
    if given is not None:
        layers = (layer.tolist() for layer in given)
        weights = dict(zip(layer_names(len(given)), layers, strict=True))
        portable["init"] = {**portable["init"], "weights": weights}
        del portable["init"]["path"]
    return portable
