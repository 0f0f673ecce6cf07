"""The page and the plot."""

from statistics import median

from container import CPUS

IN_TURN, AT_ONCE, POLLED = "in turn", "all at once", "all at once, polled"
COLOURS = {IN_TURN: "#1f6feb", AT_ONCE: "#d1570a"}
WIDTH, HEIGHT, LEFT, TOP = 420, 240, 46, 44


def table(header, rows):
    """A table of Markdown, in which numbers stand to the right."""
    lines = [header, ["---" if isinstance(cell, str) and not cell[-1].isdigit() else "---:" for cell in rows[0]], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def nice(value):
    """A distance between two marks of an axis that reaches to this value."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if value / step <= 8)


def panel(left, title, number, curves):
    """One plot: how many gateways answer, by seconds, for each way."""
    longest = max(steps[-1][0] for steps in curves.values()) * 1.03
    right, bottom = left + LEFT + WIDTH, TOP + HEIGHT

    def x(seconds):
        return round(left + LEFT + WIDTH * seconds / longest, 1)

    def y(count):
        return round(bottom - HEIGHT * count / number, 1)

    parts = [f'<text x="{left + LEFT}" y="{TOP - 18}" class="title">{title}: how many answer</text>']
    for second in range(0, int(longest) + 1, nice(longest)):
        parts.append(f'<path d="M{x(second)} {TOP}V{bottom}" class="grid"/>')
        parts.append(f'<text x="{x(second)}" y="{bottom + 18}" text-anchor="middle">{second}</text>')
    for count in range(0, number + 1, nice(number)):
        parts.append(f'<path d="M{left + LEFT} {y(count)}H{right}" class="grid"/>')
        parts.append(f'<text x="{left + LEFT - 8}" y="{y(count) + 4}" text-anchor="end">{count}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 36}" text-anchor="end">seconds</text>')
    for way, steps in curves.items():
        path = "".join(f"H{x(when)}V{y(count)}" for when, count in steps if when)
        begin = y(max((count for when, count in steps if when == 0), default=0))
        parts.append(f'<path d="M{x(0)} {begin}{path}H{right}" class="curve" stroke="{COLOURS[way]}"/>')
    return parts


def plot(panels):
    """An SVG of panels beside each other, each of which is a title, a number of gateways and the curve of each way."""
    width, height = len(panels) * (LEFT + WIDTH + 24), TOP + HEIGHT + 76
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="13" fill="#333">',
        "<style>.title{font-size:15px;font-weight:bold}.grid{stroke:#ddd}.curve{fill:none;stroke-width:2.5}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for at, (title, number, curves) in enumerate(panels):
        parts += panel(at * (LEFT + WIDTH + 24), title, number, curves)
    for at, (way, colour) in enumerate(COLOURS.items()):
        left, middle = LEFT + at * 130, height - 18
        parts.append(f'<path d="M{left} {middle}h24" class="curve" stroke="{colour}"/>')
        parts.append(f'<text x="{left + 32}" y="{middle + 4}">{way}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def ends(runs):
    """The medians of the first, the median and the last time of each run."""
    return [f"{median(pick(run['times']) for run in runs):.1f}" for pick in (min, median, max)]


def ratio(these, those, pick, other=None):
    """The median of the ratios within the rounds."""
    pairs = zip(these, those)
    return f"{median(pick(this['times']) / (other or pick)(that['times']) for this, that in pairs):.2f}"


def of(runs, key, unit=1.0, digits=1):
    return f"{median(run[key] for run in runs) / unit:.{digits}f}"


def boots_table(boots):
    header = ["gateways", "how", "first", "median", "last", "processor", "MiB", "rounds"]
    rows = [
        [*key, *ends(runs), of(runs, "processor"), of(runs, "memory", 2**20, 0), len(runs)]
        for key, runs in sorted(boots.items())
    ]
    return table(header, rows)


def restarts_table(restarts):
    header = ["gateways", "how", "first", "median", "last", "nobody answers", "each is away", "processor", "rounds"]
    rows = [
        [*key, *ends(runs), of(runs, "outage"), of(runs, "away"), of(runs, "processor"), len(runs)]
        for key, runs in sorted(restarts.items())
    ]
    return table(header, rows)


def goals_table(boots, number):
    turn, once, alone = boots[number, IN_TURN], boots[number, AT_ONCE], boots[1, IN_TURN]
    return table(
        ["in turn", "ratio", "goal"],
        [
            [f"the first of {number}, to one alone", ratio(turn, alone, min), "1.2"],
            [f"the median of {number}, to all at once", ratio(turn, once, median), "0.6"],
            [f"the last of {number}, to all at once", ratio(turn, once, max), "1.0"],
        ],
    )


def slots_table(slot, waiter):
    beside = [
        ("s6-supervise, for the gateway and for its logger", 2, slot["s6-supervise"]),
        ("s6-log", 1, slot["s6-log"]),
        ("hermes-run-logger, which puts the profile in front of each line", 1, slot["hermes-run-logger"]),
    ]
    rows = [[what, count, f"{count * kib:.0f}"] for what, count, (_, kib) in beside]
    rows.append(["**together**", 4, f"**{sum(count * kib for _, count, (_, kib) in beside):.0f}**"])
    rows.append(["hermes-gateway-ready, until the gateway is ready", 1, f"{waiter[1]:.0f}"])
    return table(["process", "number", "KiB"], rows)


def summary(boots, restarts, number):
    """The table of README.md: a line for each way."""
    header = [f"{number} gateways, {CPUS} processors", "first", "median", "last", "restart of all: nobody answers"]
    rows = [
        [way, *(f"{time} s" for time in ends(boots[number, way])), f"{of(restarts[number, way], 'outage')} s"]
        for way in COLOURS
    ]
    return table(header, rows)


def page(boots, restarts, stand_ins, agent, number):
    """The page: `number` is of which number of gateways the goals and the plot are."""
    ready, polls = boots[number, AT_ONCE], boots[number, POLLED]
    more = median(poll["processor"] - run["processor"] for poll, run in zip(polls, ready))
    slot = stand_ins["slot"]
    processes = sum(count for count, _ in slot.values())
    mib = sum(count * kib for count, kib in slot.values()) / 1024
    return f"""# How long a boot takes

`make bench-boot` measures this and writes this page. The machine may be busy with other things, so compare only
figures of one page. They are medians of the rounds, in seconds where nothing else is said.

Each container has {CPUS} processors, the real Hermes Agent {agent}, and a new volume with so many profiles that are wanted
up. "In turn" is the default: as many gateways start at a time as there are processors. "All at once" is
`HERMES_START_LIMIT=0`. The ways alternate. A gateway is there when it answers `GET /health` on its port from outside the
container. In the end `hermes-svc-status` has to call every gateway up and ready on that port.

![How many gateways answer, by time](boot.svg)

## From `docker run`

{boots_table(boots)}

The processor time and the memory are those of the container's control group when the last gateway answers. Pages of
files are not counted.

## The goals

{goals_table(boots, number)}

A ratio is the median of the ratios within the rounds.

## `hermes-svc-restart -a`

{restarts_table(restarts)}

The first three are when new gateways answer. "Nobody answers" is how long no gateway at all answered, and "each is away"
how long one gateway did not.

## Readiness

"{POLLED}" is with a template in which `s6-notifyoncheck` runs a shell and a tool twice a second. For {number}
starts this takes {more:.1f} seconds of a processor more than `hermes-gateway-ready`, one process that looks at the state file. The
starts themselves take {of(ready, "processor")} seconds.

## Many slots

{stand_ins["number"]} stand-ins for gateways, which are small shell scripts, start in turn under one s6-svscan, without a
container.

{table(["", "seconds"], [[what, f"{took:.2f}"] for what, took in stand_ins["took"].items()])}

When all run, there are {processes} processes with {mib:.0f} MiB of memory. A page that processes share is divided among
them. Beside a gateway, a slot costs:

{slots_table(slot, stand_ins["waiter"])}
"""


def panels(boots, restarts, number):
    """What the plot shows: the first round."""
    return [
        (f"{number} gateways, from docker run", number, {way: boots[number, way][0]["curve"] for way in COLOURS}),
        (f"hermes-svc-restart -a of {number}", number, {way: restarts[number, way][0]["curve"] for way in COLOURS}),
    ]
