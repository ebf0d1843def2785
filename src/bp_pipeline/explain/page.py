"""page"""
from bp_pipeline.explain.explanation import Explanation
def render_page(explanation: Explanation) -> str:
    return ""
