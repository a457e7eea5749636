"""What was measured, as a table (Markdown) and as a picture (SVG)."""

import math
from xml.sax.saxutils import escape

# Rows of the table: what is compared, the least that is asked for and what is aimed at, and whether less is better.
GOALS = {
    "committed": ("put, committed, 256 clients", 1.5, 2.2, False),
    "streamed": ("put, committed, 256 clients, together on streams", None, None, False),
    "one_client": ("put, committed, 1 client: p50", 1.3, 1.0, True),
    "certified": ("put, certified and verified, 256 clients", 1.0, 1.8, False),
    "certified_share": ("put, certified ÷ committed, both by 256 clients", 0.6, 0.8, False),
    "batched": ("put in batches of 1,000, certified and verified", 8.0, 20.0, False),
    "verified_get": ("verified get of the newest value, 64 clients", 0.7, 1.2, False),
    "overhead": ("put, committed, 256 clients, against a bare echo", 0.45, 0.6, False),
    "immudb_set": ("put, committed, 64 clients; immudb: Set", None, None, False),
    "immudb_verified_set": ("put, certified, 64 clients; immudb: VerifiedSet", None, None, False),
    "immudb_batch": ("batches of 1,000, 4 clients, certified; immudb: SetAll", None, None, False),
    "immudb_verified_get": ("verified get, 64 clients; immudb: VerifiedGet", None, None, False),
    "growth": ("rate with many keys ÷ rate with few", 0.7, 0.9, False),
    "failover": ("failover: kill -9 of the leader to the next write, median", 1.5, 1.0, True),
}


def rate(run):
    return f"{run['operations_per_second']:,.0f}/s, p50 {run['p50_us'] / 1000:,.1f} ms, p99 {run['p99_us'] / 1000:,.1f} ms"


def seconds(value):
    return f"{value:,.2f} s" if value >= 1 else f"{value * 1000:,.0f} ms"


def verdict(key, ratio):
    _, least, aim, less = GOALS[key]
    if least is None:
        return "no goal"
    good = (lambda bound: ratio <= bound) if less else (lambda bound: ratio >= bound)
    return "aim met" if good(aim) else "goal met" if good(least) else "missed"


def table(report):
    machine = report["machine"]
    lines = [
        f"{', '.join(report['versions'])}: 3 members each on one machine ({machine['cores']} cores, {machine['processor']}, "
        f"{machine['memory_gib']} GiB, Linux {machine['kernel']}, {machine['file_system']}), the load generators on it too.",
        f"TLS: {report['tls']}. fsync on everywhere; keys of 16 bytes in random order, values of 256 bytes.",
        f"{report['keys']:,} keys before, which are read. Medians of {report['rounds']} alternating pairs of "
        f"{report['seconds']} s; load average {report['load_average'][0]:.1f} before, "
        f"{report['load_average'][1]:.1f} after. Figures move with the machine: the ratios are what counts.", ""]
    for party in report["settings"]:
        lines.append(f"* {party}: {report['settings'][party]}")
    lines += ["", "| | Quorate | compared with | ratio | at least | aim | |", "|---|---|---|---|---|---|---|"]
    for row in report["rows"]:
        name, least, aim, less = GOALS[row["key"]]
        bounds = [f"{'≤' if less else '≥'} {bound:g}" if bound else "–" for bound in (least, aim)]
        lines.append(f"| {name} | {row['here']} | {row['there']} | {row['ratio']:.2f} | {' | '.join(bounds)} | "
                     f"{verdict(row['key'], row['ratio'])} |")
    lines += ["", "| of itself | Quorate | etcd |", "|---|---|---|"]
    lines += [f"| {name} | {here} | {there} |" for name, here, there in report["alone"]]
    return "\n".join(lines)


STYLE = """.paper{fill:#fff}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0}.one{stroke:#59636e;stroke-width:2}
.bar{fill:#0550ae}.goal{stroke:#b3400b;stroke-width:3}
@media (prefers-color-scheme: dark){.paper{fill:#0d1117}.ink{fill:#f0f6fc}.soft{fill:#9198a1}.grid{stroke:#30363d}
.one{stroke:#9198a1}.bar{fill:#79c0ff}.goal{stroke:#ffa657}}"""


def better(goal):
    """What a row asks for at least, as times as good."""
    _, least, _, less = goal
    return least and (1 / least if less else least)


def chart(report):
    """How many times as good as what it is compared with, per row: above 1 is better, whatever is measured."""
    rows = [(GOALS[row["key"]], 1 / row["ratio"] if GOALS[row["key"]][3] else row["ratio"]) for row in report["rows"]]
    bounds = [value for goal, value in rows for value in (value, better(goal)) if value]
    low = min(0.5, 10 ** math.floor(math.log10(min(bounds))) * 1.0)
    low, high = math.log10(low), math.log10(max(bounds + [2]) * 1.3)
    left, right, top, step = 350, 740, 64, 34
    width, height = 800, top + step * len(rows) + 50

    def x(value):
        return left + (math.log10(value) - low) / (high - low) * (right - left)

    def text(at_x, at_y, words, kind="ink", anchor="start", more=""):
        return f'<text class="{kind}" x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'

    bottom = top + step * len(rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="12" role="img">',
           f"<title>Quorate compared</title><style>{STYLE}</style>",
           f'<rect class="paper" width="{width}" height="{height}"/>',
           text(16, 28, "Quorate compared, in one run", more='font-size="16" font-weight="600"'),
           text(16, 48, f"{', '.join(report['versions'])}; medians of {report['rounds']} pairs; the mark is the goal", "soft")]
    for mark in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        if low <= math.log10(mark) <= high:
            kind = "one" if mark == 1 else "grid"
            out.append(f'<line class="{kind}" x1="{x(mark):.1f}" y1="{top - 8}" x2="{x(mark):.1f}" y2="{bottom}"/>')
            out.append(text(x(mark), bottom + 16, f"{mark:g}×", "soft", "middle"))
    for number, ((name, least, _, less), value) in enumerate(rows):
        y = top + step * number
        begin, end = sorted((x(1), x(value)))
        out.append(text(left - 10, y + 14, name, "ink", "end"))
        out.append(f'<rect class="bar" x="{begin:.1f}" y="{y}" width="{max(end - begin, 1):.1f}" height="20"/>')
        if goal := better((name, least, None, less)):
            out.append(f'<line class="goal" x1="{x(goal):.1f}" y1="{y - 3}" x2="{x(goal):.1f}" y2="{y + 23}"/>')
            end = max(end, x(goal))
        out.append(text(end + 8, y + 14, f"{value:.2f}×", "soft"))
    out.append(text((left + right) / 2, bottom + 38, "times as good (log scale): more throughput, or less time", "ink", "middle"))
    return "\n".join(out + ["</svg>", ""])
