"""Time, breadth and disk for an experiment. Knows nothing of what an experiment does."""
