"""From configs to results."""
