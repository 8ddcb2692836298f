"""A SLURM cluster of one node on the loopback, from packages that were unpacked and never installed (`.ci/slurm`).

Everything lies in one folder: keys, spool, state, logs, and `bin/`, the only place where clients are found. They are
small scripts because the environment does not reach everywhere: inside a job the step's `srun` is started without
SLURM_CONF. No accounting, so Snakemake must ask `squeue`.
"""

import os
import pwd
import secrets
import socket
import subprocess
from pathlib import Path

from support.project import ROOT
from support.waiting import wait_for

PREFIX = ROOT / ".slurm"
LIBRARIES = PREFIX / "usr/lib/x86_64-linux-gnu"
PLUGINS = LIBRARIES / "slurm-wlm"
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
MISSING = None if (PREFIX / "usr/sbin/slurmctld-wlm").exists() else "no SLURM here: run .ci/slurm on Debian (x86-64)"

CONF = """
ClusterName=zsr
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
MinJobAge=3600
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """Controller, node and key server; each is a child of this process and is ended by its own handle."""

    def __init__(self, folder: Path, cpus: int = 2) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen] = {}
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir(parents=True)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        ports = free_ports(2)
        self.conf = folder / "slurm.conf"
        self.conf.write_text(
            CONF.format(
                host=socket.gethostname().partition(".")[0], user=pwd.getpwuid(os.getuid()).pw_name, folder=folder,
                controller=ports[0], node=ports[1], plugins=PLUGINS, cpus=cpus,
            ),
            encoding="utf-8",
        )  # fmt: skip
        self.environment = {"SLURM_CONF": str(self.conf), "LD_LIBRARY_PATH": f"{LIBRARIES}:{PLUGINS}"}
        said = " ".join(f"{key}={value}" for key, value in self.environment.items())
        for name in CLIENTS:
            script(folder / "bin" / name, f'{said} exec {PREFIX}/usr/bin/{name} "$@"')
        for name in ("sacctmgr", "sshare"):  # asked for the account; without accounting there is none to know
            script(folder / "bin" / name, "exit 0")

    @property
    def path(self) -> str:
        """PATH with the clients on it."""
        return f"{self.folder}/bin:{os.environ['PATH']}"

    def __enter__(self) -> "Cluster":
        try:
            f = self.folder
            files = {"key": "munge.key", "pid": "munged.pid", "log": "munged.log", "seed": "munged.seed"}
            options = [f"--{name}-file={f / file}" for name, file in files.items()]
            self._start("munged", "--foreground", "--force", f"--socket={f}/munge.sock", *options)
            wait_for(lambda: (f / "munge.sock").exists(), 30)
            self.start_controller()
            self.start_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "slurmctld" in self.running and "slurmd" in self.running:
            for job in self.jobs(states="PENDING,RUNNING,COMPLETING"):
                self.client("scancel", job, code=None)
            wait_for(lambda: not self.jobs(states="PENDING,RUNNING,COMPLETING"), 60)
        for name in ("slurmd", "slurmctld", "munged"):
            self.stop(name)

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")
        wait_for(lambda: self.client("scontrol", "ping", code=None).count(" is UP") == 1, 60)

    def start_node(self) -> None:
        self._start("slurmd", "-D", "-d", str(PREFIX / "usr/sbin/slurmstepd-wlm"))
        wait_for(lambda: self.client("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed", "allocated"), 60)

    def stop(self, name: str) -> None:
        """End one daemon; a node's jobs go on without it."""
        if name in self.running:
            process = self.running.pop(name)
            process.terminate()
            process.wait(60)

    def client(self, name: str, *arguments: str, code: int | None = 0) -> str:
        """What a client says."""
        done = subprocess.run(
            [self.folder / "bin" / name, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert code is None or done.returncode == code, f"{name} {' '.join(arguments)}: {done.stdout}"
        return done.stdout

    def jobs(self, states: str = "all") -> dict[str, str]:
        """SLURM's number of each job -> its state."""
        lines = self.client("squeue", "-h", "-r", "-t", states, "-o", "%i %T", code=None).splitlines()
        return {line.split()[0]: line.split()[1] for line in lines if line[:1].isdigit()}

    def ended(self) -> list[dict[str, str]]:
        """What the controller wrote down of each job when it ended."""
        path = self.folder / "jobs.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def _start(self, name: str, *arguments: str) -> None:
        program = PREFIX / "usr/sbin" / (name if name == "munged" else f"{name}-wlm")
        with (self.folder / f"{name}.out").open("a", encoding="utf-8") as log:
            self.running[name] = subprocess.Popen(
                [program, *arguments], env={**os.environ, **self.environment, "PATH": self.path},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
