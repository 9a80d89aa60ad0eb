"""Labels beside points that overlap neither each other nor, where it can be helped, other points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text
from matplotlib.textpath import text_to_path

from ._style import INK, PAPER, SOFT, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ANGLES = np.deg2rad([20, 160, -20, 200, 50, 130, -50, 230, 0, 180, 90, 270, 70, 110, -70, 250])
_GAPS = (4.0, 8.0, 14.0, 22.0, 32.0, 46.0, 64.0)  # points between the marker and its label
_SEGMENT = np.linspace(0.0, 1.0, 12)[1:-1, None]


class _Label(Annotation):
    """A label whose line ends where its letters do.

    Outlined text is drawn as paths, at its true width; its extent is that of hinted text, which is up to 9 % off on a screen.
    """

    def true_width(self) -> float:
        """Width of the letters in points, at any resolution."""
        letters = self.get_text().replace(r"\$", "$")
        return float(text_to_path.get_text_width_height_descent(letters, self.get_fontproperties(), False)[0])

    def update_positions(self, renderer: Any) -> None:
        super().update_positions(renderer)
        if self.arrow_patch is None:  # without a line there is none to end
            return
        box, pad = Text.get_window_extent(self, renderer), renderer.points_to_pixels(2.0)
        width = renderer.points_to_pixels(self.true_width())
        self.arrow_patch.set_patchA(Rectangle((box.x0 - pad, box.y0 - pad), width + 2 * pad, box.height + 2 * pad))


def _inside(xy: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.asarray(((xy >= box[:2]) & (xy <= box[2:])).all(axis=-1))


def _overlap(boxes: list[np.ndarray], box: np.ndarray) -> bool:
    return any((box[:2] < other[2:]).all() and (box[2:] > other[:2]).all() for other in boxes)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether the lines from ``a`` to ``b`` and from ``c`` to ``d`` meet."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> bool:
        return bool((q[0] - p[0]) * (r[1] - p[1]) > (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) != side(a, b, d) and side(c, d, a) != side(c, d, b)


def _beside(cloud: np.ndarray, path: np.ndarray, scale: float) -> int:
    """How many points a line runs over."""
    near = (
        cloud[_inside(cloud, np.concatenate([path.min(axis=0), path.max(axis=0)]) + np.array([-1, -1, 1, 1]) * scale)]
        if len(path)
        else cloud[:0]
    )
    return int((np.abs(near[:, None] - path).max(axis=2) < 2 * scale).any(axis=1).sum())


def settle(ax: Axes) -> None:
    """Run the figure's layout, so that positions in pixels are final."""
    figure = ax.get_figure()
    while figure is not None and figure.get_figure() is not figure and figure.get_figure() is not None:
        figure = figure.get_figure()  # a SubFigure's parent
    if figure is not None:
        figure.draw_without_rendering()  # type: ignore[union-attr]


def _choose(
    anchor: np.ndarray,
    size: np.ndarray,
    scale: float,
    area: np.ndarray,
    taken: list[np.ndarray],
    lines: list[np.ndarray],
    cloud: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """The best box for one label, and its centre; None where every place is taken."""
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for gap in _GAPS:
        for angle in _ANGLES:
            way = np.array([np.cos(angle), np.sin(angle)])
            centre = anchor + way * (gap * scale + size / 2)
            box = np.concatenate([centre - size / 2, centre + size / 2])
            if (box[:2] < area[:2]).any() or (box[2:] > area[2:]).any() or _overlap(taken, box):
                continue
            path = anchor + _SEGMENT * (centre - anchor)
            path = path[~_inside(path, box)]
            if any(_inside(line, box).any() for line in lines) or any(_inside(path, other).any() for other in taken):
                continue
            crossed = sum(_cross(anchor, centre, line[0], line[-1]) for line in lines)
            cost = (
                gap
                + 2.0 * min(int(_inside(cloud, box).sum()), 15)
                + 0.3 * min(int(_beside(cloud, path, scale)), 40)
                + 40.0 * crossed
            )
            if best is None or cost < best[0]:
                best = (cost, box, centre)
        if best is not None and best[0] <= gap:
            break  # what is farther away costs more
    return None if best is None else (best[1], best[2])


def _label(ax: Axes, name: str, xy: tuple[float, float]) -> _Label:
    note = _Label(
        name,
        xy,
        (0, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=points(0.75),
        color=INK,
        zorder=6,
        arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
        path_effects=[patheffects.withStroke(linewidth=2, foreground=PAPER)],
    )
    ax.add_artist(note)
    note.set_clip_on(False)
    return note


def place_labels(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    *,
    cloud: np.ndarray | None = None,
    clear: Sequence[Text] = (),
) -> list[Annotation]:
    """Write ``names`` beside the points ``x``, ``y``, the first first; one that finds no free place is left out.

    Parameters
    ----------
    cloud
        All points of the figure (n x 2, data coordinates), which labels keep clear of.
    clear
        Other texts of the figure, which labels and their lines keep clear of.
    """
    if not len(names):
        return []
    settle(ax)
    figure = ax.get_figure()
    scale = figure.dpi / 72  # type: ignore[union-attr]
    window = ax.get_window_extent()
    area = np.array([window.x0, window.y0, window.x1, window.y1])
    anchors = ax.transData.transform(np.column_stack([x, y]).astype(float))
    everything = anchors if cloud is None else ax.transData.transform(cloud[np.isfinite(cloud).all(axis=1)])
    taken = [np.concatenate([a - 2.5 * scale, a + 2.5 * scale]) for a in anchors]
    taken += [np.asarray(text.get_window_extent().extents) for text in clear]
    lines: list[np.ndarray] = []
    placed: list[Annotation] = []
    for anchor, px, py, name in zip(anchors, x, y, names, strict=True):
        note = _label(ax, name, (px, py))
        extent = Text.get_window_extent(note)  # the text alone, without its line
        found = _choose(
            anchor,
            np.array([(note.true_width() + 6) * scale, extent.height + 2 * scale]),
            scale,
            area,
            taken,
            lines,
            everything,
        )
        if found is None:
            note.remove()
            continue
        box, centre = found
        note.set_position(tuple((np.array([box[0] + 3 * scale, centre[1]]) - anchor) / scale))
        note.set_in_layout(False)
        taken.append(box)
        lines.append(anchor + _SEGMENT * (centre - anchor))
        placed.append(note)
    return placed
