"""Loss curves as one SVG file, drawn without any library: two plots beside each other, a legend below them."""
from html import escape
from math import floor, log10

WIDTH, HEIGHT, LEFT, TOP, PLOT_W, PLOT_H, GAP = 1000, 440, 62, 36, 400, 300, 90
# Colours that colour-blind readers tell apart (Okabe and Ito), then the same ones dashed.
COLOURS = ["#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]


def ticks(low, high, most=6):
    """Round numbers between low and high."""
    raw = (high - low) / most or 1.0
    power = 10.0 ** floor(log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = -(-low // step)
    return [i * step for i in range(int(first), int(high // step) + 1)]


def label(value):
    return f"{value:g}" if abs(value) < 1e4 else f"{value:.0f}"


class Plot:
    """points: name -> [(x, y), ...]. `crop`: share of the highest y values that may run out of the picture, so that a
    start at ln(vocabulary) doesn't flatten the rest."""

    def __init__(self, left, title, points, crop):
        self.left, self.title, self.points = left, title, {name: p for name, p in points.items() if p}
        xs = [x for p in self.points.values() for x, _ in p]
        ys = sorted(y for p in self.points.values() for _, y in p)
        self.x = (min(xs), max(max(xs), min(xs) + 1))
        top = ys[min(int(len(ys) * (1 - crop)), len(ys) - 1)]
        margin = max((top - ys[0]) * 0.06, 1e-6)
        self.y = (ys[0] - margin, top + margin)

    def at(self, x, y):
        return (self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * PLOT_W,
                TOP + (self.y[1] - y) / (self.y[1] - self.y[0]) * PLOT_H)

    def svg(self, style, number):
        bottom, right = TOP + PLOT_H, self.left + PLOT_W
        out = [f'<text x="{self.left + PLOT_W / 2}" y="{TOP - 14}" text-anchor="middle" font-size="15">{escape(self.title)}</text>',
               f'<clipPath id="plot{number}"><rect x="{self.left}" y="{TOP}" width="{PLOT_W}" height="{PLOT_H}"/></clipPath>']
        for y in ticks(*self.y):
            py = self.at(self.x[0], y)[1]
            out.append(f'<path d="M{self.left} {py:.1f}H{right}" stroke="#ddd"/><text x="{self.left - 7}" y="{py + 4:.1f}" '
                       f'text-anchor="end">{label(round(y, 6))}</text>')
        for x in ticks(*self.x):
            px = self.at(x, self.y[0])[0]
            out.append(f'<path d="M{px:.1f} {bottom}v5" stroke="#555"/><text x="{px:.1f}" y="{bottom + 19}" '
                       f'text-anchor="middle">{label(x)}</text>')
        for name, points in self.points.items():
            colour, dash = style[name]
            line = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)
            out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6" clip-path="url(#plot{number})"'
                       f'{dash}/>')
        out.append(f'<rect x="{self.left}" y="{TOP}" width="{PLOT_W}" height="{PLOT_H}" fill="none" stroke="#555"/>'
                   f'<text x="{self.left + PLOT_W / 2}" y="{bottom + 38}" text-anchor="middle">step</text>')
        return out


def svg(plots):
    """plots: [(title, name -> points, crop), (…)]; the SVG as text. y is a loss in nats a token."""
    names = list(dict.fromkeys(name for _, points, _ in plots for name in points))
    style = {name: (COLOURS[i % len(COLOURS)], ' stroke-dasharray="5 3"' if i >= len(COLOURS) else "") for i, name in enumerate(names)}
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="15" y="{TOP + PLOT_H / 2}" text-anchor="middle" transform="rotate(-90 15 {TOP + PLOT_H / 2})">nats per token</text>']
    for number, (title, points, crop) in enumerate(plots):
        out += Plot(LEFT + number * (PLOT_W + GAP), title, points, crop).svg(style, number)
    x, y = LEFT, TOP + PLOT_H + 64
    for name in names:
        colour, dash = style[name]
        wide = 46 + 7.2 * len(name)
        if x + wide > WIDTH - 10:
            x, y = LEFT, y + 20
        out.append(f'<path d="M{x} {y - 4}h26" stroke="{colour}" stroke-width="2"{dash}/><text x="{x + 32}" y="{y}">{escape(name)}</text>')
        x += wide
    return "\n".join(out) + "\n</svg>\n"
