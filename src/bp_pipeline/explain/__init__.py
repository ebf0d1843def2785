"""One training step, number by number.

`explain_step` takes an update out of training and writes it down as equations; `write` turns that
into text for a terminal, Markdown, a page or JSON. The numbers are the training core's own
(`step.py`); what they are called and how they came about is in `equations.py`.
"""

from bp_pipeline.explain.explanation import Explanation, explain_step
from bp_pipeline.explain.formats import FORMATS

__all__ = ["FORMATS", "Explanation", "explain_step"]
