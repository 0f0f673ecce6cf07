"""How long gateways take until they serve: all at once, and in turn.

    python3 benches/boot IMAGE [ NUMBER... ]

Boots containers of the image with so many real gateways, and asks each of them until it answers. The ways alternate, so
that a busy machine slows all of them alike; only what is of one run can be compared. Then as many stand-ins as one
s6-svscan has room for are booted without a container. Run it by `make bench-boot`, which writes docs/boot.md,
docs/boot.svg and a table of README.md.
"""

import pathlib
import signal
import sys
import time

import stand_ins
from container import Container, clean_up, docker, polling
from report import AT_ONCE, IN_TURN, POLLED, page, panels, plot, summary

TOP = pathlib.Path(__file__).resolve().parents[2]
GOAL = 16
"""The number of gateways that the goals are about."""

ROUNDS = 2
"""How often each way is measured. The ways alternate, and one begins a round and ends the next."""

EACH = 160 << 20
"""The memory that a gateway is given here, in bytes. It takes 110 MiB."""


def as_many_as_fit():
    """As many gateways as there is memory for. More than 40 would take too long."""
    with open("/proc/meminfo", encoding="ascii") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    return min(40, kib * 1024 // EACH)


def say(text):
    print(f"bench-boot: {text}", file=sys.stderr, flush=True)


def show(times):
    return " ".join(f"{seconds:.1f}" for seconds in times)


def measure(image, numbers, goal):
    """The boots and the restarts, by number of gateways and way: the results of the rounds, in order."""
    template = "/usr/local/lib/hermes-s6-polling"
    ways = {IN_TURN: [], AT_ONCE: ["-e", "HERMES_START_LIMIT=0"]}
    polled = {POLLED: ["-v", f"{polling(image)}:{template}:ro", "-e", f"HERMES_SLOT_TEMPLATE={template}"]}
    boots, restarts = {}, {}
    for turn in range(ROUNDS):
        # A whole run has to be short: the goals are about these two numbers.
        for number in (number for number in numbers if turn == 0 or number in (1, goal)):
            here = ways | polled if number == goal else ways
            for way in list(here)[:: -1 if turn == 1 else 1]:
                with Container(image, number, here[way]) as container:
                    boot = container.boot()
                    say(f"{number} {way}: {show(boot['times'])} s")
                    boots.setdefault((number, way), []).append(boot)
                    if way != POLLED and number <= goal:
                        restart = container.restart()
                        say(f"{number} {way}, restart: {show(restart['times'])} s, outage {restart['outage']:.1f} s")
                        restarts.setdefault((number, way), []).append(restart)
    return boots, restarts


def main():
    image, *wanted = sys.argv[1:]
    numbers = sorted({1, *map(int, wanted)}) if wanted else [1, 8, GOAL, as_many_as_fit()]
    goal = GOAL if GOAL in numbers else max(numbers)
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        boots, restarts = measure(image, numbers, goal)
        agent = docker("inspect", "-f", '{{index .Config.Labels "io.github.hermes-s6.hermes-agent"}}', image)
    finally:
        clean_up()
    text = page(boots, restarts, stand_ins.measure(say), agent, goal)
    print(text)
    say(f"{time.monotonic() - begin:.0f} s")
    # A part of the measurement is no record.
    if not wanted:
        record(text, plot(panels(boots, restarts, goal)), summary(boots, restarts, goal))


def record(text, picture, short):
    (TOP / "docs/boot.md").write_text(text, encoding="utf-8")
    (TOP / "docs/boot.svg").write_text(picture, encoding="utf-8")
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split("<!-- make bench-boot writes this table. -->\n")
    _, tail = rest.split("<!-- The end of the table. -->\n")
    marked = f"<!-- make bench-boot writes this table. -->\n{short}\n<!-- The end of the table. -->\n"
    (TOP / "README.md").write_text(head + marked + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
