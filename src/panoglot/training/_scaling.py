"""How loss falls with model size and samples: fit the law on small runs, predict the large one (Florenz)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from panoglot.errors import UserError, require

__all__ = ["ScalingLaw", "fit_scaling", "plot_scaling", "points_of_runs"]


@dataclass(frozen=True)
class ScalingLaw:
    """loss(N, S) = e + a·N^(-alpha) + b·S^(-beta), with the points it was fitted to and its bootstrap twins.

    Attributes:
        e, a, alpha, b, beta: the law.
        points: [K, 3] parameters, samples, loss.
        twins: [R, 5] (e, a, alpha, b, beta) fitted to resampled residuals.
        flags: what looks odd: losses that rise with size, points below e.
    """

    e: float
    a: float
    alpha: float
    b: float
    beta: float
    points: np.ndarray = field(repr=False)
    twins: np.ndarray = field(repr=False)
    flags: tuple[str, ...] = ()

    def __call__(self, parameters: float, samples: float) -> float:
        """Return the predicted loss."""
        return float(_law(np.log([self.e, self.a, self.b]), self.alpha, self.beta, parameters, samples))

    def interval(self, parameters: float, samples: float, level: float = 0.95) -> tuple[float, float]:
        """Return the bootstrap interval of the prediction."""
        each = [float(_law(np.log(t[[0, 1, 3]]), t[2], t[4], parameters, samples)) for t in self.twins]
        low, high = np.quantile(each, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def _law(logs: Any, alpha: Any, beta: Any, n: Any, s: Any) -> Any:
    e, a, b = np.exp(logs)
    return e + a * np.power(n, -alpha) + b * np.power(s, -beta)


def _starts(n: np.ndarray, s: np.ndarray, loss: np.ndarray, keep: int) -> list[np.ndarray]:
    """Exponents from a grid; the rest is then linear. Returns the best as (ln e, ln a, alpha, ln b, beta)."""
    nnls = require("scipy.optimize", "scipy", "fitting a scaling law").nnls
    found = []
    for alpha in np.linspace(0.05, 1.0, 20):
        for beta in np.linspace(0.05, 1.0, 20):
            # columns of one size: the powers themselves differ by many orders of magnitude
            columns = np.stack([np.ones_like(n), (n / n.min()) ** -alpha, (s / s.min()) ** -beta], 1)
            (e, a, b), error = nnls(columns / loss[:, None], np.ones_like(loss))
            a, b = a * n.min() ** alpha, b * s.min() ** beta
            logs = np.log(np.maximum([e, a, b], 1e-12))
            found.append((error, np.array([logs[0], logs[1], alpha, logs[2], beta])))
    found.sort(key=lambda f: f[0])
    return [x for _, x in found[:keep]]


def _fit(n: np.ndarray, s: np.ndarray, loss: np.ndarray, starts: list[np.ndarray]) -> np.ndarray:
    solve = require("scipy.optimize", "scipy", "fitting a scaling law").least_squares

    def residual(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.log(_law(x[[0, 1, 3]], x[2], x[4], n, s)) - np.log(loss)
        return found

    low, high = [-30.0, -30.0, 1e-3, -30.0, 1e-3], [10.0, 80.0, 3.0, 80.0, 3.0]
    best = None
    for x0 in starts:
        x0 = np.clip(x0, np.array(low) + 1e-6, np.array(high) - 1e-6)
        out = solve(
            residual,
            x0,
            bounds=(low, high),
            loss="huber",
            f_scale=1e-3,
            x_scale="jac",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
            max_nfev=2000,
        )
        if best is None or out.cost < best.cost:
            best = out
    assert best is not None
    found: np.ndarray = best.x
    return found


def fit_scaling(points: Sequence[Sequence[float]], *, twins: int = 50, seed: int = 0) -> ScalingLaw:
    """Fit the law by Huber regression in log space, from a grid of starts.

    Fit pairs of task and language that were trained, and those that were not, separately.

    Args:
        points: (parameters, samples, loss) of runs.
        twins: bootstrap fits for the intervals.
        seed: of the bootstrap.

    Raises:
        UserError: fewer than six distinct points, an axis that does not vary, or losses that are not positive numbers.
    """
    table = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if not (np.isfinite(table).all() and (table > 0).all()):
        raise UserError("scaling: parameters, samples and losses must be positive numbers.")
    distinct = len(np.unique(table[:, :2], axis=0))
    if distinct < 6:
        raise UserError(
            f"scaling: {distinct} distinct points of (parameters, samples) leave five unknowns open; give six."
        )
    for k, name in enumerate(("parameters", "samples")):
        if len(np.unique(table[:, k])) < 3:
            raise UserError(f"scaling: the {name} need at least three values to tell a bend from a line.")
    n, s, loss = table.T
    x = _fit(n, s, loss, _starts(n, s, loss, 5))
    predicted = _law(x[[0, 1, 3]], x[2], x[4], n, s)
    # five constants were fitted: the residuals are that much smaller than the noise
    residual = (np.log(loss) - np.log(predicted)) * np.sqrt(len(loss) / (len(loss) - 5))
    draw = np.random.default_rng(seed)
    others = [_fit(n, s, predicted * np.exp(draw.choice(residual, len(residual))), [x]) for _ in range(twins)]

    def plain(v: np.ndarray) -> list[float]:
        return [float(np.exp(v[0])), float(np.exp(v[1])), float(v[2]), float(np.exp(v[3])), float(v[4])]

    flags = []
    below = int((loss < np.exp(x[0])).sum())
    if below:
        flags.append(f"{below} losses lie below e={np.exp(x[0]):.4g}")
    for k, name in enumerate(("parameters", "samples")):
        fixed = table[:, 1 - k]
        for value in np.unique(fixed):
            line = table[fixed == value][:, [k, 2]]
            line = line[line[:, 0].argsort()]
            if (np.diff(line[:, 1]) > 0).any():
                flags.append(f"the loss rises with {name} at {value:g}")
    e, a, alpha, b, beta = plain(x)
    return ScalingLaw(e, a, alpha, b, beta, table, np.array([plain(o) for o in others] or [plain(x)]), tuple(flags))


def points_of_runs(
    folders: Sequence[str | Path], loss: str = "loss", tail: int = 20
) -> list[tuple[float, float, float]]:
    """Read (parameters, samples, mean loss of the last `tail` steps) of runs the trainer wrote.

    Raises:
        UserError: a folder that holds no finished run.
    """
    out = []
    from panoglot.networks._row import stored_row

    for folder in map(Path, folders):
        try:
            row = stored_row(folder)
            total = (folder / "freeze.txt").read_text().split(" of ")[1].split()[0]
            lines = [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
        except (OSError, ValueError, IndexError, UserError) as error:
            raise UserError(f"'{folder}' holds no run of the trainer: {error}") from error
        values = [x[loss] for x in lines[-tail:] if x.get(loss) is not None]
        if not values:
            raise UserError(f"'{folder}': the log has no '{loss}'.")
        out.append((float(total.replace(",", "")), float(len(lines) * row.batch), float(np.mean(values))))
    return out


def plot_scaling(law: ScalingLaw, path: str | Path) -> None:
    """Draw loss against samples, a line a model size, with 95 % bands (SVG, no further package)."""
    n, s, loss = law.points.T
    x = np.geomspace(s.min() / 2, s.max() * 10, 60)
    low, high = 0.95 * min(loss.min(), law.e), 1.05 * max(loss.max(), law(n.min(), x[0]))

    def at(samples: Any, value: Any) -> str:
        px = 60 + 520 * (np.log(samples) - np.log(x[0])) / (np.log(x[-1]) - np.log(x[0]))
        return f"{px:.1f},{20 + 320 * (high - value) / (high - low):.1f}"

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" font-family="sans-serif" font-size="11">']
    parts.append('<rect width="640" height="400" fill="white"/><path d="M60,20V340H580" fill="none" stroke="black"/>')
    sizes = np.unique(n)
    for k, size in enumerate(sizes):
        colour = f"hsl({round(240 * (1 - k / max(1, len(sizes) - 1)))} 70% 45%)"
        bands = [law.interval(size, v) for v in x]
        ring = [at(v, b[0]) for v, b in zip(x, bands, strict=True)] + [
            at(v, b[1]) for v, b in zip(x[::-1], bands[::-1], strict=True)
        ]
        parts.append(f'<polygon points="{" ".join(ring)}" fill="{colour}" opacity="0.15"/>')
        parts.append(f'<polyline points="{" ".join(at(v, law(size, v)) for v in x)}" fill="none" stroke="{colour}"/>')
        for one_s, one_loss in zip(s[n == size], loss[n == size], strict=True):
            cx, cy = at(one_s, one_loss).split(",")
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="588" y="{30 + 14 * k}" fill="{colour}">{size:.3g}</text>')
    for v in np.geomspace(x[0], x[-1], 5):
        parts.append(f'<text x="{at(v, low).split(",")[0]}" y="356" text-anchor="middle">{v:.1g}</text>')
    for v in np.linspace(low, high, 5):
        parts.append(f'<text x="54" y="{at(x[0], v).split(",")[1]}" text-anchor="end">{v:.3g}</text>')
    parts.append('<text x="320" y="380" text-anchor="middle">samples seen (colour: parameters)</text></svg>')
    Path(path).write_text("\n".join(parts), encoding="utf-8")
