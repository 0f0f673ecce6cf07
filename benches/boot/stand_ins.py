"""Hundreds of stand-in gateways under a real s6-svscan, without a container."""

import collections
import glob
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time

STAND_IN = """#!/bin/sh
# What Hermes Agent's gateway is for its supervisor: it says who it is, and later that it runs. It waits at the gate
# before, which is a FIFO while it is closed.
[ "$2" = default ] || cd "profiles/$2" || exit 111
read -r stat </proc/$$/stat
set -- ${stat##*) }
say() {
    printf '{"desired_state":"running","pid":%s,"start_time":%s,"gateway_state":"%s"}' $$ "$2" "$1" \
        >gateway_state.json
}
say starting "${20}"
read -r _ <"$GATE"
say running "${20}"
exec sleep 1000000
"""


class Tree:
    """A home with so many profiles, and an s6-svscan."""

    def __init__(self, number):
        # Root's tools trust no template that others could change.
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="hermes-s6-bench.", dir="/run" if os.geteuid() == 0 else None))
        self.base.chmod(0o755)
        self.number = number
        self.gate = self.base / "gate"
        self.env = {
            "PATH": f"{self.base}/prefix/bin:{self.base}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HERMES_HOME": f"{self.base}/home",
            "S6_PROFILE_GATEWAY_SCANDIR": f"{self.base}/service",
            "HERMES_SLOT_TEMPLATE": f"{self.base}/prefix/lib/hermes-s6/gateway",
            "GATE": str(self.gate),
        }

    def __enter__(self):
        make = ["make", "--no-print-directory", "install", f"PREFIX={self.base}/prefix"]
        subprocess.run(make, stdout=subprocess.DEVNULL, check=True)
        (self.base / "hermes").write_text(STAND_IN)
        (self.base / "hermes").chmod(0o755)
        (self.base / "service").mkdir()
        self.homes = [self.base / "home" / (f"profiles/p{at:03}" if at else "") for at in range(self.number)]
        for home in self.homes:
            home.mkdir(parents=True)
            (home / "SOUL.md").write_text("You are a profile.\n")
            (home / "gateway_state.json").write_text('{"desired_state": "running"}')
        self.gate.write_text("\n")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = ["prlimit", f"--nofile={most}"]
        self.svscan = subprocess.Popen([*limit, "s6-svscan", f"{self.base}/service"], env=self.env,
                                       stdout=subprocess.DEVNULL, stderr=(self.base / "log").open("w"))
        self.wait("s6-svscan", lambda: (self.base / "service/.s6-svscan/control").exists())
        return self

    def __exit__(self, *_):
        # Also processes whose parents have ended.
        while pids := list(self.processes()):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            self.svscan.poll()
        shutil.rmtree(self.base)

    def tool(self, *arguments):
        ran = subprocess.run(arguments, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if ran.returncode or ran.stderr:
            raise RuntimeError(f"{' '.join(arguments[:3])}: {ran.returncode}: {ran.stderr[-2000:]}")
        return ran.stdout

    def processes(self):
        """The pids of the tree."""
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as file:
                    if os.fsencode(self.base) in file.read():
                        yield int(path.split("/")[2])
            except OSError:
                pass

    def runs(self, home):
        """Has the stand-in of this home passed the gate?"""
        return '"gateway_state":"running"' in (home / "gateway_state.json").read_text()

    def wait(self, what, condition):
        until = time.monotonic() + 300
        while not condition():
            if time.monotonic() > until or self.svscan.poll() is not None:
                raise RuntimeError(f"{what}: not within 300 s, or s6-svscan has ended: {self.base}/log")
            time.sleep(0.02)

    def wait_all_run(self):
        waiting = list(self.homes)

        def is_over():
            waiting[:] = [home for home in waiting if not self.runs(home)]
            return not waiting

        self.wait("all stand-ins to run", is_over)

    def states(self):
        records = [json.loads(line) for line in self.tool("hermes-svc-status", "-j").splitlines()]
        return collections.Counter((record["state"], record["ready"]) for record in records)

    def memory(self):
        """By program: how many processes there are, and the mean of their proportional memory in KiB."""
        sizes = collections.defaultdict(list)
        for pid in self.processes():
            try:
                arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            name = os.path.basename(os.fsdecode(arguments[0]))
            sizes[name].append(next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")))
        return {name: (len(each), sum(each) / len(each)) for name, each in sizes.items()}


def measure(say):
    """A boot of 490 stand-ins in turn, what can be asked of them, their end, and what a slot costs."""
    took = {}
    with Tree(490) as tree:
        begin = time.monotonic()

        def take(what, *arguments):
            begin = time.monotonic()
            tree.tool(*arguments)
            took[what] = time.monotonic() - begin

        take("boot pass", "hermes-reconcile-all")
        tree.wait_all_run()
        took["until all run, the boot pass included"] = time.monotonic() - begin
        tree.wait("readiness", lambda: tree.states() == {("up", True): tree.number})
        take("hermes-svc-status", "hermes-svc-status")
        take("hermes-svc-list", "hermes-svc-list")
        slot = tree.memory()
        take("hermes-svc-stop -a -k -w, until all are down", "hermes-svc-stop", "-a", "-k", "-w")
        if (states := tree.states()) != {("down", False): tree.number}:
            raise RuntimeError(f"not all are down: {states}")
        say(f"{tree.number} stand-ins: {took}")
        # While the gate is closed, each start has a process that waits for its readiness.
        tree.gate.unlink()
        os.mkfifo(tree.gate)
        tree.tool("hermes-svc-start", "-w", *(home.name for home in tree.homes[1:17]))
        waiter = tree.memory()["hermes-gateway-ready"]
    return {"number": tree.number, "took": took, "slot": slot, "waiter": waiter}
