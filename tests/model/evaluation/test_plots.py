from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.evaluation.plots import save_bars, save_curves


def drawn(path: Path) -> bool:
    """Whether there is colour in the image, and so a curve or bar and not only axes."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((pixels.max(axis=-1) - pixels.min(axis=-1) > 60).mean() > 1e-3)


@pytest.mark.parametrize("panels", [1, 3, 6])
def test_curves_are_drawn_whatever_their_titles_hold(panels: int, tmp_path: Path) -> None:
    curve = np.linspace(1, 0, 101)
    titles = {f"$number {n}_": {"all": curve, "small": curve * np.nan} for n in range(panels)}
    save_curves(tmp_path / "curves.png", ("recall, %", "precision, %"), titles)
    assert drawn(tmp_path / "curves.png")


def test_bars_are_drawn_with_gaps_for_what_is_not_there(tmp_path: Path) -> None:
    rows = {"a $": {"AP": 0.5}, "b $": {"AP": np.nan, "AP50": 0.75}}
    save_bars(tmp_path / "bars.png", "title", rows)
    assert drawn(tmp_path / "bars.png")


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save_bars(tmp_path / name, "title", {"row": {"AP": 0.5}})
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
