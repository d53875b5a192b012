"""Lanes as a job array of a real Slurm on this machine; a preempted job is queued again and ends with the same table.

Slurm comes from Debian's packages slurm-wlm and munge, and wants root; where they are missing the tests are skipped and
say so. A requeued job waits more than two minutes, so they run with `make test-slow`.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from test_processes import LENGTH, divisible
from test_sweep import GRID, OWN, ROOT, call, command, table

from research.engine.files import read_manifest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
missing = [name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("slurm"),  # one cluster on a machine
    pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}: apt-get install slurm-wlm munge"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons need root"),
]

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
ReturnToService=2
SlurmUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Slurm of one node with two processors -> the environment in which its commands work."""
    home = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (home / name).mkdir()
    config = home / "slurm.conf"
    config.write_text(CONFIG.format(host=socket.gethostname(), home=home))
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    munge = subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"])
    environment = os.environ | {"SLURM_CONF": str(config), "PATH": os.environ["PATH"] + ":/usr/sbin"}
    daemons = [
        subprocess.Popen([name, "-D", "-c", "-f", str(config)], env=environment, stdout=subprocess.DEVNULL, stderr=log)
        for name in ("slurmctld", "slurmd")
        for log in [(home / f"{name}.err").open("w")]
    ]
    try:
        for _ in range(60):
            state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, env=environment).stdout
            if state.strip() == "idle":
                break
            time.sleep(1)
        else:
            log = home / "slurmctld.log"
            told = f"Slurm's node is {state.strip()!r}: {log.read_text()[-500:] if log.exists() else 'no log'}"
            pytest.skip(told) if os.environ.get("SLURM_MAY_FAIL_TO_START") else pytest.fail(told)
        yield environment
    finally:
        subprocess.run(["scancel", "--user", "root"], env=environment)
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
        munge.terminate()
        munge.wait()


def test_four_lanes_one_of_them_preempted_give_the_same_table(cluster, tmp_path):
    four = [OWN, "--grid", "learning_rate=0.1,0.05,0.02,0.01", *GRID[2:], "--lanes", 3, "--save-seconds", 0]
    four += ["--steps", 100_000, "--chunk", 1000, "--record-every", 1000, "--evaluate-every", 50_000]
    here = call("sweep.py", *four, "--out", tmp_path / "here")
    assert here.returncode == 0, here.stderr
    out = tmp_path / "slurm"
    words = command(
        "sweep.py", *four, "--out", out, "--launch", "slurm", "--slurm", "partition=main", "--slurm", "time=30"
    )
    launcher = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=cluster)
    deadline = time.time() + 180
    while (
        not (begun := [path for path in out.rglob("metrics.jsonl") if path.stat().st_size]) and time.time() < deadline
    ):
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.1)
    assert begun, "no lane began in three minutes"
    # What Slurm sends before it takes a machine, as submitit asks it to.
    running = subprocess.run(
        ["squeue", "-h", "-t", "R", "-o", "%i"], capture_output=True, text=True, env=cluster
    ).stdout
    first = sorted(running.split())[0]
    # It delivers the signal, and then keeps trying, because a job that is queued again "can not be altered now".
    with subprocess.Popen(["scancel", "--signal", "USR2", first], stderr=subprocess.DEVNULL, env=cluster) as scancel:
        time.sleep(5)
        scancel.kill()
    printed, complained = launcher.communicate(timeout=900)
    assert launcher.returncode == 0, complained
    assert printed.count("ended with exit code 0") == 4
    logs = "".join(path.read_text() for path in out.rglob("*.err")) + "".join(p.read_text() for p in out.rglob("*.out"))
    assert "stopped by SIGTERM" in logs and "to go on from tick" in logs, "one job was stopped and went on"
    assert table(tmp_path / "here", tmp_path / "a") == table(out, tmp_path / "b")


def test_processes_under_srun_find_each_other(cluster, tmp_path):
    words = command("train.py", divisible(tmp_path), *LENGTH, "--coordinator", "auto", "--out", tmp_path / "out")
    flags = [flag for flag in cluster.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    environment = cluster | {"XLA_FLAGS": " ".join(flags)}
    done = subprocess.run(
        ["srun", "-n", "2", "-p", "main", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "out").glob("linear-*")
    manifest = read_manifest(folder)
    assert manifest["complete"] and manifest["machine"]["processes"] == 2
