"""One training step, number by number.

step.py           the update, taken out of training
notation.py       names, numbers, equations
derivation.py     which equations a step has
source_numbers.py what a source prints, beside it
explanation.py    all that is told of a step
text.py           as text for a terminal, as Markdown, as JSON
page.py           as a page with a diagram
"""

from bp_pipeline.explain.explanation import Explanation, explain_step
from bp_pipeline.explain.text import FORMATS

__all__ = ["FORMATS", "Explanation", "explain_step"]
