"""How figures look, in one place: colours that colour-blind readers can tell apart (Okabe and Ito), one colour per arm
everywhere, intervals as bands, and PNG files small enough to keep.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any, Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np

from .statistics import band

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
ARM_ORDER = ("grpo", "darling", "darling-oracle", "difficulty", "additive", "clip_higher", "dr_grpo")
UNITS = {"entropy": "token entropy (nat)", "reward": "shaped reward", "quality": "quality", "diversity": "diversity", "kl_ref": "KL to the base (nat)",
         "num_clusters": "clusters per group", "num_classes": "true classes per group", "length": "length (tokens)"}  # fmt: skip


def use() -> None:
    """Sets the style for this session."""
    plt.rcParams.update({
        "figure.dpi": 100, "savefig.dpi": 100, "figure.constrained_layout.use": True, "font.size": 9, "axes.titlesize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False,
        "legend.fontsize": 8, "axes.prop_cycle": plt.cycler(color=PALETTE), "lines.linewidth": 1.6, "image.cmap": "cividis",
    })  # fmt: skip


def arms_in_order(arms: Iterable[str]) -> list[str]:
    """Known arms first, in the order of ARM_ORDER; the others by name."""
    return sorted(set(arms), key=lambda a: (ARM_ORDER.index(a) if a in ARM_ORDER else len(ARM_ORDER), a))


def colour(arm: str, arms: Sequence[str] = ()) -> str:
    """The colour of an arm: its own everywhere; an unknown one by its place among ``arms``."""
    if arm in ARM_ORDER:
        return PALETTE[ARM_ORDER.index(arm)]
    others = [a for a in arms_in_order(arms) if a not in ARM_ORDER]
    return PALETTE[(len(ARM_ORDER) + others.index(arm)) % len(PALETTE)] if arm in others else PALETTE[-1]


def matrix(frame: Any, arm: str, column: str, index: str = "step") -> tuple[np.ndarray, np.ndarray]:
    """Curves of an arm: x [points] and values [seeds, points], seeds in order."""
    table = frame[frame["arm"] == arm].pivot(index="seed", columns=index, values=column)
    return table.columns.to_numpy(), table.to_numpy(dtype=np.float64)


def smooth(curves: np.ndarray, window: int) -> np.ndarray:
    """Trailing mean over ``window`` points of the last axis (shorter at the start)."""
    total = np.cumsum(np.asarray(curves, dtype=np.float64), axis=-1)
    out = total.copy()
    out[..., window:] -= total[..., :-window]
    return out / np.minimum(np.arange(1, total.shape[-1] + 1), window)


def learning_curve(ax: Any, frame: Any, column: str, window: int = 1, statistic: str = "iqm", arms: Sequence[str] | None = None) -> None:
    """Point estimate and 95 % bootstrap band over seeds, one line per arm."""
    for arm in arms_in_order(frame["arm"].unique()) if arms is None else arms:
        x, curves = matrix(frame, arm, column)
        middle, low, high = band(smooth(curves, window), statistic)
        ax.plot(x, middle, color=colour(arm, frame["arm"].unique()), label=arm)
        ax.fill_between(x, low, high, color=colour(arm, frame["arm"].unique()), alpha=0.15, linewidth=0)
    ax.set_xlabel("training step")
    ax.set_ylabel(UNITS.get(column, column.replace("_", " ")))


def heat(ax: Any, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], form: str = "{:.2f}", centre: float | None = None, label: str = "") -> None:
    """A matrix with its numbers written in; ``centre`` takes a diverging map around that value."""
    values = np.asarray(values, dtype=np.float64)
    options: dict[str, Any] = {}
    if centre is not None:
        reach = float(np.nanmax(np.abs(values - centre))) or 1.0
        options = {"cmap": "PuOr_r", "vmin": centre - reach, "vmax": centre + reach}
    image = ax.imshow(values, aspect="auto", **options)
    ax.grid(False)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    for i, j in np.ndindex(values.shape):
        if np.isfinite(values[i, j]):
            red, green, blue, _ = image.cmap(image.norm(values[i, j]))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(j, i, form.format(values[i, j]), ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85)


def legend_below(figure: Any, ax: Any, columns: int = 6) -> None:
    """One legend for the whole figure, under it."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center" if _outside() else "upper center", ncol=columns,
                  bbox_to_anchor=None if _outside() else (0.5, 0.0))  # fmt: skip


def _outside() -> bool:
    import matplotlib

    return tuple(int(v) for v in matplotlib.__version__.split(".")[:2]) >= (3, 7)


def save(figure: Any, name: str, folder: str | os.PathLike[str] = "figures") -> pathlib.Path:
    """Writes ``folder/name.png`` and returns its path."""
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    figure.savefig(path / f"{name}.png", bbox_inches="tight", metadata={"Software": None})
    return path / f"{name}.png"
