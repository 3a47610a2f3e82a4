"""A model card out of what the files say of themselves, and of prose that somebody wrote.

    python -m export.card TEMPLATE MODEL [MODEL ...] > MODEL_CARD.md

A line `[[name]]` of the template becomes what the manifests know; the rest stays as it is. The first file is the
one that the figures are of.

    facts       name, version, input, classes, how the weights came about, and the files
    accuracy    the figures of the whole validation set
    classes     those of each class, with its threshold of the best F1
    int8        what the accuracy gate measured of the files in int8
    limits      what the graph leaves out, and what it is good for
    golden      the golden photographs, and what was seen in them
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.manifest import KEY
from model.command_line import exit_status
from model.errors import Refused
from model.evaluation.tables import Row, markdown_table, percent

PLACE = re.compile(r"^\[\[(\w+)\]\]$", re.MULTILINE)


class CardError(Refused):
    """A template or a file that no card can be made of; one line says why."""


@dataclass(frozen=True)
class Described:
    """A model file: its name, its size and its manifest."""

    name: str
    megabytes: float
    manifest: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Described":
        """The file at `path`.

        Raises:
            CardError: it has no manifest.
        """
        try:
            found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
            manifest = json.loads(found[KEY])
        except (KeyError, ValueError, OSError) as error:
            raise CardError(f"{path}: expected a file of fpn-export, got {error!r}") from None
        return cls(path.name, path.stat().st_size / 1e6, manifest)


def model_card(template: str, models: Sequence[Described]) -> str:
    """The card.

    Raises:
        CardError: the template asks for something that there is not.
    """

    def filled(place: re.Match[str]) -> str:
        if place[1] not in PARTS:
            raise CardError(f"the template asks for [[{place[1]}]]: expected one of {list(PARTS)}")
        return PARTS[place[1]](models)

    return PLACE.sub(filled, template)


def _facts(models: Sequence[Described]) -> str:
    about = models[0].manifest
    weights, resize = about["weights"], about["resize"]
    sides = ", ".join(f"{width} x {height}" for height, width in about["buckets"])
    facts = {
        "name, version": f"{about['name']}, {about['version']}",
        "input": f"shorter side {resize['short_side']}, longer at most {resize['max_side']}"
        f" ({resize['interpolation']}, JPEGs decoded {resize['decoding']}); frames of {sides}",
        "classes": ", ".join(about["classes"]),
        "licence": weights["license"],
        "data": weights["data"],
        "recipe": weights["recipe"],
        "training began from": weights["source"],
        "written": f"{weights['date']}, fpn-serve {weights['code']}",
        **{
            f"`{model.name}`": f"{model.megabytes:.1f} MB, {model.manifest['precision']}, opset"
            f" {model.manifest['opset']}, large float weights stored in {model.manifest['weights']['stored']}"
            for model in models
        },
    }
    return _of_text("", {name: {" ": text} for name, text in facts.items() if text})


def _accuracy(models: Sequence[Described]) -> str:
    figures = models[0].manifest["accuracy"]
    whole = {name: percent(value) for name, value in figures.items() if "/" not in name}
    if not whole:
        raise CardError(f"{models[0].name}: nobody measured its accuracy; export with --accuracy")
    return markdown_table("percent", {"validation": whole})


def _classes(models: Sequence[Described]) -> str:
    about = models[0].manifest
    figures, best = about["accuracy"], about["thresholds"]
    points = best["classes"] if best else [None] * len(about["classes"])
    rows: dict[str, Row] = {}
    for name, point in zip(about["classes"], points, strict=True):
        rows[name] = {
            "boxes": f"{figures.get(f'boxes/{name}', 0):.0f}",
            **{
                figure: percent(figures[f"{figure}/{name}"])
                for figure in ("AP", "AP50")
                if f"{figure}/{name}" in figures
            },
            **_point(point),
        }
    order = sorted(rows, key=lambda name: -float(rows[name]["boxes"]))
    every = {"all together": _point(best["every"])} if best else {}
    return markdown_table("class", {**{name: rows[name] for name in order}, **every})


def _point(point: dict[str, float] | None) -> Row:
    if point is None:
        return {}
    return {
        "threshold": f"{point['score']:.3f}",
        "precision": percent(point["precision"]),
        "recall": percent(point["recall"]),
    }


def _int8(models: Sequence[Described]) -> str:
    rows = {}
    for model in models:
        gate = model.manifest["gate"]
        if model.manifest["precision"] == "int8":
            report = {name: f"{value:g}" for name, value in gate["report"].items()}
            rows[f"`{model.name}`"] = report | {"layers in float32": str(len(gate["float_layers"]))}
    return markdown_table("points of 100", rows)


def _limits(models: Sequence[Described]) -> str:
    about = models[0].manifest
    left_out, limits = about["suppression"], about["limits"]
    rows = {
        "detections": f"at most {about['max_detections']} an image, of class score {left_out['score']:g} and above,"
        f" none of whose class overlaps a better one by more than {left_out['nms']:g}",
        "proposals": f"at most {about['max_proposals']} a level, overlap at most {left_out['proposal_nms']:g}",
        "frames": f"sides of at most {limits['max_side']:,}, at most {limits['max_batch']:,} together",
        "regions": f"at most {limits['max_regions']:,} of the caller's own an image",
    }
    return _of_text("", {name: {" ": text} for name, text in rows.items()})


def _golden(models: Sequence[Described]) -> str:
    rows: dict[str, dict[str, str]] = {}
    for model in models:
        golden = model.manifest["golden"] or {"photographs": []}
        for photograph in golden["photographs"]:
            names = model.manifest["classes"]
            seen = [f"{names[d['label']]} {d['score']:.2f}" for d in photograph["detections"]]
            row = rows.setdefault(photograph["name"], {})
            row[f"`{model.name}`"] = ", ".join(seen)
    return _of_text("photograph", rows)


def _of_text(corner: str, rows: Mapping[str, Row]) -> str:
    """A table whose columns are text, which begins at the left."""
    return markdown_table(corner, rows).replace("---:", "---")


PARTS: dict[str, Callable[[Sequence[Described]], str]] = {
    "facts": _facts,
    "accuracy": _accuracy,
    "classes": _classes,
    "int8": _int8,
    "limits": _limits,
    "golden": _golden,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m export.card", description="Print a model card."
    )
    parser.add_argument("template", type=Path, help="Markdown with lines as [[facts]]")
    parser.add_argument("models", type=Path, nargs="+", help="files of fpn-export")
    return exit_status(parser, arguments, _print)


def _print(options: argparse.Namespace) -> None:
    models = [Described.read(path) for path in options.models]
    sys.stdout.write(model_card(options.template.read_text(encoding="utf-8"), models))


if __name__ == "__main__":
    sys.exit(main())
