"""A container with so many real gateways, and when each of them answers."""

import http.client
import json
import os
import select
import subprocess
import threading
import time
from statistics import median

PORT = 9301
"""The port of the first gateway. The others have the next ones, so that it is known before a boot whom to ask."""

PACE = 0.05
"""The seconds between two questions to a gateway that does not answer. A connection that is refused costs little."""

LABEL = f"hermes-s6.bench={os.getpid()}"
CPUS = min(2, os.cpu_count() or 1)


def docker(*arguments):
    """Run the engine's client, and return what it prints."""
    ran = subprocess.run(["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout.strip()


def clean_up():
    """Remove the containers and volumes of this run."""
    for kind, remove in (("container", ["rm", "-f", "-v"]), ("volume", ["volume", "rm", "-f"])):
        found = docker(kind, "ls", "-q", "--filter", f"label={LABEL}", *(["-a"] if kind == "container" else []))
        if found:
            docker(*remove, *found.split())


def volume(image, number):
    """A new volume with so many profiles that are wanted up, `default` among them."""
    name = docker("volume", "create", "--label", LABEL)
    script = """set -eu; umask 077; number=0
        while [ $number -lt "$1" ]; do
            dir=/opt/data; [ $number = 0 ] || dir=/opt/data/profiles/$(printf p%03d $number)
            mkdir -p "$dir"; cd "$dir"; echo 'You are a profile.' >SOUL.md
            echo '{"desired_state": "running"}' >gateway_state.json
            { echo API_SERVER_ENABLED=true; echo API_SERVER_HOST=0.0.0.0; echo API_SERVER_PORT=$(($2 + number))
              echo API_SERVER_KEY=0123456789abcdef0123456789abcdef; } >.env
            number=$((number + 1))
        done"""
    run = ["run", "--rm", "--label", LABEL, "--user", "hermes", "-v", f"{name}:/opt/data", "--entrypoint", "sh"]
    docker(*run, image, "-c", script, "sh", str(number), str(PORT))
    return name


def polling(image):
    """A volume with a template that asks for the readiness twice a second, by s6-notifyoncheck."""
    name = docker("volume", "create", "--label", LABEL)
    script = """set -eu; umask 022; cp -R /usr/local/lib/hermes-s6/gateway/. /template; cd /template
        sed -i '/^ready=/,$d' run
        echo 'exec s6-notifyoncheck -d -n 0 -w 500 -- hermes-run-gateway -v -- "$name"' >>run
        printf '%s\\n' '#!/bin/sh' 'name=${PWD##*/}' 'exec hermes-gateway-ready -s .. -- "${name#gateway-}"' >data/check
        chmod 0755 data/check"""
    docker("run", "--rm", "--label", LABEL, "-v", f"{name}:/template", "--entrypoint", "sh", image, "-c", script)
    return name


class Watch:
    """Asks gateways for their health, and keeps when each began and ceased to answer."""

    def __init__(self, host, number):
        self.end = threading.Event()
        self.changes = [[] for _ in range(number)]
        places = enumerate(self.changes, PORT)
        self.threads = [threading.Thread(target=self.ask, args=(host, port, changes)) for port, changes in places]
        for thread in self.threads:
            thread.start()

    def ask(self, host, port, changes):
        def note(answers):
            if answers != bool(changes and changes[-1][1]):
                changes.append((time.monotonic(), answers))

        while not self.end.is_set():
            connection = http.client.HTTPConnection(host, port, timeout=2)
            try:
                while not self.end.is_set():
                    connection.request("GET", "/health")
                    response = connection.getresponse()
                    health = json.load(response)
                    note(response.status == 200 and health["status"] == "ok" and health["platform"] == "hermes-agent")
                    # A gateway that ends closes the connection, and the next question is put at once.
                    select.select([connection.sock] if connection.sock else [], [], [], 0.5)
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
                note(False)
            connection.close()
            self.end.wait(PACE)

    def wait(self, what, seconds, condition):
        """Wait until the condition holds for the changes of each gateway."""
        until = time.monotonic() + seconds
        while not all(condition(changes) for changes in self.changes):
            if time.monotonic() > until:
                raise RuntimeError(f"{what}: {sum(map(condition, self.changes))} of {len(self.changes)} in {seconds} s")
            time.sleep(PACE)

    def stop(self):
        self.end.set()
        for thread in self.threads:
            thread.join()


def curve(changes, begin):
    """How many gateways answered, and from when on, in seconds since the beginning."""
    steps, count = [], 0
    for when, answers in sorted(change for each in changes for change in each):
        count += 1 if answers else -1
        steps.append((max(when - begin, 0.0), count))
    return steps


def silence(steps, end):
    """For how many seconds until the end nobody answered, from the first answer on."""
    return sum(after - at for (at, count), (after, _) in zip(steps, [*steps[1:], (end, 0)]) if count == 0)


class Container:
    """A container, from `docker run` on. Its gateways have two processors at most."""

    def __init__(self, image, number, options):
        self.number = number
        home = volume(image, number)
        self.begin = time.monotonic()
        self.name = docker("run", "-d", "--label", LABEL, "--cpuset-cpus", f"0-{CPUS - 1}", "-v", f"{home}:/opt/data",
                           *options, image, "sleep", "infinity")
        host = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name)
        self.watch = Watch(host, number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.watch.stop()
        docker("rm", "-f", "-v", self.name)

    def patience(self):
        return 60 + 8 * self.number

    def used(self):
        """The processor seconds of the container so far, and the bytes of its memory without pages of files."""
        script = """cd /sys/fs/cgroup
            if [ -e cpu.stat ]; then cat cpu.stat memory.stat; echo usage $(cat memory.current)
            else echo usage_nsec $(cat cpuacct/cpuacct.usage); cat memory/memory.stat
                echo usage $(cat memory/memory.usage_in_bytes); fi"""
        lines = docker("exec", self.name, "sh", "-c", script).splitlines()
        stat = {name: int(value) for name, value in map(str.split, lines)}
        files = sum(stat.get(f"total_{kind}_file", stat[f"{kind}_file"]) for kind in ("active", "inactive"))
        return stat.get("usage_usec", 0) / 1e6 or stat["usage_nsec"] / 1e9, stat["usage"] - files

    def status(self):
        """The pids of the gateways, when hermes-svc-status calls all of them up and ready, on the ports that were asked."""
        until = time.monotonic() + self.patience()
        ports = range(PORT, PORT + self.number)
        while True:
            records = [json.loads(line) for line in docker("exec", self.name, "hermes-svc-status", "-j").splitlines()]
            if [("up", True, port) for port in ports] == [(r["state"], r["ready"], r["port"]) for r in records]:
                return {record["pid"] for record in records}
            if time.monotonic() > until:
                raise RuntimeError(f"what was measured is not ready: {records}")
            time.sleep(0.5)

    def boot(self):
        """Wait until every gateway answers."""
        self.watch.wait("answer", self.patience(), lambda changes: bool(changes) and changes[-1][1])
        processor, memory = self.used()
        times = sorted(changes[0][0] - self.begin for changes in self.watch.changes)
        steps = curve(self.watch.changes, self.begin)
        return {"times": times, "processor": processor, "memory": memory, "curve": steps}

    def restart(self):
        """Restart every gateway, and wait until every new one answers."""
        before, (used, _), begin = self.status(), self.used(), time.monotonic()
        docker("exec", self.name, "hermes-svc-restart", "-a")
        took = time.monotonic() - begin

        def is_back(changes):
            return any(when > begin and not answers for when, answers in changes) and changes[-1][1]

        self.watch.wait("answer again", self.patience(), is_back)
        end = time.monotonic()
        processor, memory = self.used()
        if before & self.status():
            raise RuntimeError("a gateway was not restarted")
        times = sorted(changes[-1][0] - begin for changes in self.watch.changes)
        steps = curve(self.watch.changes, begin)
        return {"times": times, "processor": processor - used, "memory": memory, "curve": steps, "took": took,
                "outage": silence(steps, end - begin),
                "away": median(changes[-1][0] - changes[-2][0] for changes in self.watch.changes)}
