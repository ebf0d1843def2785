"""The picture of a run that MLflow previews: its losses, and how many replicates have converged.

Written from a template: a Matplotlib figure takes fifty times as long, and a sweep has 10⁴ runs.
"""

from html import escape

import numpy as np

from bp_pipeline.ensemble import RunResult

_WIDTH, _HEIGHT, _LEFT, _TOP = 260.0, 150.0, 56.0, 58.0  # of one panel, and where the first begins
_SECOND = _LEFT + _WIDTH + 70.0
_FLOOR, _CEILING = -5.0, 1.0  # log10 of nats, between which losses are drawn
_PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 240" width="680" height="240" \
role="img" font-family="sans-serif" font-size="12">
<title>{name}</title><desc>{text}</desc>
<rect width="680" height="240" fill="#fff"/>
<text x="{left}" y="20" font-size="14">{name}</text>
<g fill="none" stroke="#999"><path d="M{left} {top}v{height}h{width}"/>\
<path d="M{second} {top}v{height}h{width}"/></g>
<path d="{band}" fill="#0072b2" fill-opacity=".2"/>
<path d="{median}" fill="none" stroke="#0072b2" stroke-width="2"/>
<path d="{converged}" fill="none" stroke="#b8500a" stroke-width="2"/>
{labels}
</svg>
"""


def run_picture(name: str, result: RunResult) -> str:
    """Draw the loss by epoch, and which fraction has converged, on logarithmic axes, as SVG."""
    values = result.curves
    x = np.log1p(result.epochs) / max(np.log1p(result.epochs[-1]), 1.0) * _WIDTH
    low, median, high = (_loss_height(values[f"loss/{key}"]) for key in ("p10", "median", "p90"))
    fraction = values["converged/fraction"]
    outline = np.concatenate([high, low[::-1]])
    last, bottom = f"{result.epochs[-1]:,}", _TOP + _HEIGHT
    labels = [
        (_LEFT - 6, _TOP + 5, "end", "10"),
        (_LEFT - 6, bottom, "end", "1e-5"),
        (_LEFT, _TOP - 8, "start", "loss, nats: median, 10 – 90 %"),
        (_SECOND - 6, _TOP + 5, "end", "100 %"),
        (_SECOND - 6, bottom, "end", "0"),
        (_SECOND, _TOP - 8, "start", f"converged: {100 * fraction[-1]:.0f} % at the end"),
        *((start, bottom + 16, "start", "epoch 0") for start in (_LEFT, _SECOND)),
        *((start + _WIDTH, bottom + 16, "end", last) for start in (_LEFT, _SECOND)),
    ]
    return _PAGE.format(
        name=escape(name),
        text=f"{100 * fraction[-1]:.0f} % of the networks converge within {last} epochs.",
        left=_LEFT, top=_TOP, width=_WIDTH, height=_HEIGHT, second=_SECOND,
        band=_path(_LEFT + np.concatenate([x, x[::-1]]), outline) + "z",
        median=_path(_LEFT + x, median),
        converged=_path(_SECOND + x, _TOP + (1 - fraction) * _HEIGHT),
        labels="\n".join(
            f'<text x="{at}" y="{height}" text-anchor="{anchor}">{text}</text>'
            for at, height, anchor, text in labels
        ),
    )  # fmt: skip


def _loss_height(loss: np.ndarray) -> np.ndarray:
    """Return where losses are drawn; those beyond the limits, infinite ones too, at the edge."""
    powers = np.log10(np.clip(loss, 10**_FLOOR, 10**_CEILING))
    return _TOP + (_CEILING - powers) / (_CEILING - _FLOOR) * _HEIGHT


def _path(x: np.ndarray, y: np.ndarray) -> str:
    points = np.round(np.stack([x, y], axis=1), 1).tolist()
    return "M" + "L".join(f"{a} {b}" for a, b in points)
