"""Settings for every test: eight simulated devices, strict ranks and dtypes, a compile cache of this test run alone."""

import gc
import os
import tempfile
from pathlib import Path

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile far more than they compute. RESEARCH_TESTS_COMPILE=as-users-do leaves the compiler as it is.
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # bits of what NumPy solves depend on it
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
if os.environ.get("RESEARCH_TESTS_COMPILE") != "as-users-do":
    os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"  # a program in one piece: a third less work
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"research-tests-{RUN}"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("WANDB_MODE", "offline")

import jax  # noqa: E402
from hypothesis import settings  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The same examples in every run; the first of them may compile for seconds.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, derandomize=False)
settings.load_profile("repeatable")

# Every compiled program holds a few mappings of memory, of which Linux gives a process 65,530; beyond that JAX crashes.
MAPS, MANY = Path("/proc/self/maps"), 30_000


def pytest_runtest_teardown(item, nextitem):
    """Lets compiled programs go where there are too many of them in this process."""
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()
        gc.collect()
