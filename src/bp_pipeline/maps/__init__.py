"""Maps: one network, or a few, for every pixel of two dense axes, as one run."""
