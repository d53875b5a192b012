"""Makes rliable_reference.npz: what rliable 1.2.0 says of random scores. It needs `pip install rliable "pandas<3"`.

rliable is no dependency: tests/test_stats.py compares with these stored values.
"""

from pathlib import Path

import numpy as np
from rliable import library, metrics

RUNS, TASKS = 10, 6

random = np.random.default_rng(0)
# Normalised scores as of a benchmark: skewed, some far above 1.
ours = random.gamma(2.0, 0.5, (RUNS, TASKS))
theirs = random.gamma(2.0, 0.4, (RUNS, TASKS))
thresholds = np.linspace(0, 4, 17)
aggregates = [
    metrics.aggregate_mean(ours),
    metrics.aggregate_median(ours),
    metrics.aggregate_iqm(ours),
    metrics.aggregate_optimality_gap(ours),
]
profile, _ = library.create_performance_profile({"ours": ours}, thresholds)
_, intervals = library.get_interval_estimates(
    {"ours": ours}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=20_000, random_state=np.random.RandomState(0)
)
np.savez(
    Path(__file__).with_name("rliable_reference.npz"),
    ours=ours,
    theirs=theirs,
    thresholds=thresholds,
    aggregates=aggregates,
    profile=profile["ours"],
    improvement=metrics.probability_of_improvement(ours, theirs),
    iqm_interval=intervals["ours"][:, 0],
)
