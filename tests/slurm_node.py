"""A Slurm cluster of one node, for the time of a test: private folder, private key, free ports, no systemd.

Needs root, and the programs of Debian's packages slurmctld, slurmd, slurm-client and munge.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel"]

# `config_overrides` lets the node promise memory that the machine may not have: nothing here enforces memory, and a
# test of the submission should not depend on the machine. The proctrack, task, gather and cgroup plugins are those that
# ask neither for a cgroup mount nor for systemd.
CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
MinJobAge=3600
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
SlurmdParameters=config_overrides
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes={host} MaxTime=INFINITE State=UP
"""
# Slurm counts cards by their device files; any two will do, for no job opens them.
CARDS = """\
Name=gpu File=/dev/null
Name=gpu File=/dev/zero
"""


def lacking() -> str:
    """Why a node cannot be started here; empty where it can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"Slurm is not installed: no {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


@contextmanager
def node(folder: Path, cpus: int, memory: int) -> Iterator[dict[str, str]]:
    """The environment variables that lead Slurm's commands to a node of so many CPUs and so much memory [MiB].

    It pretends to two GPUs and has two partitions, `main` (the default) and `other`. Its daemons are children of this
    process; when the block ends its jobs are cancelled and those daemons stopped.
    """
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = free_ports(2)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(**locals()))
    (folder / "gres.conf").write_text(CARDS)
    # Without a cgroup.conf of its own slurmd asks D-Bus for a scope; only newer versions know `disabled`.
    newer = run("slurmd", "-V").split()[1] >= "23.02"
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={'disabled' if newer else 'cgroup/v1'}\n")
    environment = {"SLURM_CONF": str(config), "PATH": f"{step_launcher(folder)}{os.pathsep}{os.environ['PATH']}"}
    with ExitStack() as stack:
        munge = [f"--{key}={folder}/munge.{key.removesuffix('-file')}" for key in ("socket", "key-file", "pid-file")]
        munge += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"]
        stack.enter_context(daemon(folder, "munged", "--foreground", "--force", *munge))
        wait(folder, "munged", (folder / "munge.socket").exists)
        stack.enter_context(daemon(folder, "slurmctld", "-D", "-f", str(config)))
        wait(folder, "slurmctld", lambda: "is UP" in run("scontrol", "ping", **environment))
        stack.enter_context(daemon(folder, "slurmd", "-D", "-f", str(config)))
        wait(folder, "slurmd", lambda: run("sinfo", "-h", "-o", "%T", **environment).split() == ["idle"])
        stack.callback(cancel, environment)
        yield environment


def step_launcher(folder: Path) -> Path:
    """A folder with an `srun` that knows the configuration: inside a job Snakemake drops SLURM_CONF before it calls it.

    On a cluster srun finds the configuration in its default place, which belongs to the machine and is left alone here.
    """
    launcher = folder / "bin" / "srun"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    launcher.chmod(0o755)
    return launcher.parent


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def run(*command: str, **environment: str) -> str:
    """What a command prints, whatever its exit code: a daemon that is not up yet is asked again."""
    said = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    return said.stdout


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """A program in the foreground of a child process, stopped at the end of the block."""
    with (folder / f"{command[0]}.out").open("wb") as out:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait(folder: Path, name: str, ready: Callable[[], bool], seconds: float = 30) -> None:
    """Return once a daemon is ready; RuntimeError with the end of what it wrote where it never is."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            written = [(folder / f"{name}.{kind}") for kind in ("out", "log")]
            said = "".join(path.read_text(errors="replace")[-2000:] for path in written if path.exists())
            raise RuntimeError(f"{name} was not ready after {seconds:.0f} s:\n{said}")
        time.sleep(0.2)


def jobs(environment: dict[str, str]) -> list[dict[str, str]]:
    """What the cluster knows of every job it was given, finished ones too, in scontrol's words."""
    lines = run("scontrol", "--oneliner", "show", "job", **environment).splitlines()
    return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines if line]


def cancel(environment: dict[str, str]) -> None:
    """End the jobs that are left, for their steps are not children of the daemons."""
    left = run("squeue", "-h", "-o", "%A", **environment).split()
    if not left:
        return
    run("scancel", "--full", *left, **environment)
    end = time.monotonic() + 20
    while run("squeue", "-h", **environment) and time.monotonic() < end:
        time.sleep(0.2)
