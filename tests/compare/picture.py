"""The cost curves as tables (Markdown) and as pictures (SVG): one panel per unit, side by side, over the same axis."""

import math
from xml.sax.saxutils import escape

# Per curve: its title, what is to the right, and the panels: a title, and the lines with the path to their figures.
RATE, P50, P99 = "operations_per_second", "p50_us", "p99_us"
BOTH = [("committed", ("committed", RATE)), ("certified, verified", ("certified", RATE))]
LATE = [("committed", ("committed", P99)), ("certified, verified", ("certified", P99))]
MEMORY = ("memory of the largest node, MiB", [("memory", ("memory_mib",))])
CURVES = {
    "clients": ("Clients, one call each", "clients", [
        ("puts per second", BOTH), ("p99, milliseconds", LATE), MEMORY]),
    "values": ("Length of a value", "bytes of a value (256 clients, from 64 KiB on 64)", [
        ("puts per second", BOTH), ("MB of values per second", [(name, (*path, "MB")) for name, path in BOTH]),
        ("p99, milliseconds", LATE)]),
    "keys": ("Keys that are there", "keys, overwritten in random order", [
        ("operations per second", [*BOTH, ("batches of 1,000", ("batched", RATE)), ("verified get", ("verified_get", RATE))]),
        ("MiB", [("memory", ("memory_mib",)), ("disk", ("disk_mib",))]), ("restart, seconds", [("to ready", ("restart_s",))])]),
    "ledgers": ("Ledgers, written at once", "ledgers", [
        ("puts per second", BOTH), MEMORY, ("restart, seconds", [("to ready", ("restart_s",))])]),
    "nodes": ("Nodes, all on this machine", "nodes", [
        ("puts per second", BOTH), ("one client, certified: p50, milliseconds", [("one client", ("one_client", P50))]), MEMORY]),
    "overload": ("More than it can take", "puts asked for per second (open loop)", [
        ("puts done per second", [("committed", ("committed", RATE)), ("a closed loop after it", ("after", RATE))]),
        ("latency of what was done, milliseconds", [("p50", ("committed", P50)), ("p99", ("committed", P99))]), MEMORY]),
}
STYLE = """.paper{fill:#fff}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0}.line{fill:none;stroke-width:2}
.c0{stroke:#0550ae}.f0{fill:#0550ae}.c1{stroke:#b3400b}.f1{fill:#b3400b}.c2{stroke:#1a7f37}.f2{fill:#1a7f37}.c3{stroke:#8250df}.f3{fill:#8250df}
@media (prefers-color-scheme: dark){.paper{fill:#0d1117}.ink{fill:#f0f6fc}.soft{fill:#9198a1}.grid{stroke:#30363d}
.c0{stroke:#79c0ff}.f0{fill:#79c0ff}.c1{stroke:#ffa657}.f1{fill:#ffa657}.c2{stroke:#56d364}.f2{fill:#56d364}.c3{stroke:#d2a8ff}.f3{fill:#d2a8ff}}"""
PANEL, HEIGHT, TOP, BOTTOM, LEFT, GAP = 300, 452, 84, 340, 62, 34


def value(point, path):
    """The figure at the end of a path: latencies in milliseconds, and MB per second where the path ends so."""
    if path[-1] == "MB":
        return value(point, path[:-1]) * point["at"] / 1e6
    for step in path:
        point = point[step]
    return point / 1000 if path[-1].endswith("_us") else point


def short(number):
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= bound:
            return f"{number / bound:.3g}{unit}"
    return f"{number:.3g}"


def marks(low, high):
    """Powers of ten between two numbers; where there are too few, their halves and fifths too."""
    whole = [10.0 ** power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    fine = [step * mark for mark in whole for step in ((1,) if high / low > 300 else (1, 2, 5))]
    return [mark for mark in fine if low * 0.999 <= mark <= high * 1.001]


def text(x, y, words, kind="ink", anchor="start", more=""):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def panel(points, number, title, x_label, lines):
    """A panel: both axes logarithmic, every point marked, the last one of each line with its figure."""
    left = LEFT + number * (PANEL + GAP)
    right = left + PANEL - LEFT
    xs = [point["at"] for point in points]
    ys = [value(point, path) for _, path in lines for point in points]
    positive = [y for y in ys if y > 0] or [1]
    low, high = min(positive) / 1.5, max(positive) * 1.5

    def place(x, y):
        across = (math.log(x / xs[0]) / math.log(xs[-1] / xs[0])) if xs[-1] > xs[0] else 0.5
        up = math.log(max(y, low) / low) / math.log(high / low)
        return left + across * (right - left), BOTTOM - up * (BOTTOM - TOP)

    out = [text(left, TOP - 12, title, more='font-weight="600"')]
    for mark in marks(low, high):
        _, y = place(xs[0], mark)
        out.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        out.append(text(left - 6, y + 4, short(mark), "soft", "end"))
    for x in xs:
        out.append(text(place(x, low)[0], BOTTOM + 18, short(x), "soft", "middle"))
    out.append(text((left + right) / 2, BOTTOM + 38, x_label, "soft", "middle"))
    for color, (name, path) in enumerate(lines):
        places = [place(point["at"], value(point, path)) for point in points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline class="line c{color}" points="{joined}"/>')
        out += [f'<circle class="f{color}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        if len(lines) > 1:
            out.append(text(left, BOTTOM + 58 + 15 * color, f"● {name}", f"f{color}"))
    return out


def pictures(done):
    drawn = {}
    machine = done["machine"]
    for name, points in done["curves"].items():
        title, x_label, panels = CURVES[name]
        width = len(panels) * (PANEL + GAP) + 20
        under = (f"{done['version']}; {machine['cores']} cores, {machine['processor']}; median of {done['rounds']} runs of "
                 f"{done['seconds']} s; both axes logarithmic")
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
               f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="12" role="img">',
               f"<title>{escape(title)}</title><style>{STYLE}</style>",
               f'<rect class="paper" width="{width}" height="{HEIGHT}"/>',
               text(16, 26, title, more='font-size="16" font-weight="600"'), text(16, 46, under, "soft")]
        for number, (heading, lines) in enumerate(panels):
            out += panel(points, number, heading, x_label, lines)
        drawn[name] = "\n".join(out + ["</svg>", ""])
    return drawn


def shown(figure):
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def tables(done):
    machine = done["machine"]
    out = [f"{done['version']} on {machine['cores']} cores ({machine['processor']}, {machine['memory_gib']} GiB), nodes and load "
           f"on the same; medians of {done['rounds']} runs of {done['seconds']} s; load average {done['load_average'][0]:.1f} "
           f"before, {done['load_average'][1]:.1f} after."]
    for name, points in done["curves"].items():
        title, x_label, panels = CURVES[name]
        columns = [(heading if len(lines) == 1 else f"{heading}: {line}", path) for heading, lines in panels for line, path in lines]
        if name == "overload":
            columns += [("refused", ("committed", "refused")), ("due and not sent", ("committed", "not_sent")),
                        ("other errors", ("committed", "other_errors"))]
        out += ["", f"**{title}**", "", f"| {x_label} | {' | '.join(heading for heading, _ in columns)} |",
                "|" + "---|" * (len(columns) + 1)]
        out += [f"| {shown(point['at'])} | {' | '.join(shown(value(point, path)) for _, path in columns)} |" for point in points]
    return "\n".join(out)
