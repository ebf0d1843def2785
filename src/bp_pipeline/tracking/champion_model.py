"""A trained network as an MLflow model. MLflow copies this file into the model and runs it there.

Needs NumPy and MLflow alone, so that a model serves where this package is not installed. NumPy's
own functions stand in for those of `core`, so outputs agree to the last few bits, not in each.
"""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

_ACTIVATIONS = {
    "identity": lambda a, slope: a,
    "sigmoid": lambda a, slope: np.exp(-np.logaddexp(0.0, -a)),
    "tanh": lambda a, slope: np.tanh(a),
    "relu": lambda a, slope: np.maximum(a, 0.0),
    "leaky_relu": lambda a, slope: np.where(a < 0.0, slope * a, a),
    "softplus": lambda a, slope: np.logaddexp(0.0, a),
}


class ServedNetwork(PythonModel):
    """One network: rows of inputs go in, rows of outputs come out."""

    def load_context(self, context: Any) -> None:
        """Read the weights, and what the network is from the model's config."""
        with np.load(context.artifacts["weights"], allow_pickle=False) as file:
            self.weights = [file[f"layer_{n + 1}"] for n in range(len(file.files))]
        self.config = context.model_config

    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Compute the output layer's activations, (sample, output), for inputs (sample, input)."""
        hidden = [self.config["activation"]] * (len(self.weights) - 1)
        z = np.asarray(model_input, dtype=np.float64)
        for w, name in zip(self.weights, [*hidden, self.config["output"]], strict=True):
            a = w[0] + z @ w[1:] if self.config["bias"] else z @ w
            z = _ACTIVATIONS[name](a, self.config["slope"])
        return z


set_model(ServedNetwork())
