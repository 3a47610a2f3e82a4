"""SAHI with our file, on the mosaics of `benchmarks.tiles`: COCO's results, and the seconds.

    python -m benchmarks.tiles.sahi_peer MODEL MOSAICS RESULTS      in an environment that has sahi and this project

Slices have the side and the overlap of our tiles, and the whole is looked at, too, as SAHI does by itself.
"""

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image
from sahi.models.base import DetectionModel
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction

from service.detections import Wanted, detected
from service.engine.engine import Engine
from service.pictures.framing import Framing, frame_of
from service.pictures.tiling import OVERLAP, windows

MAX_PIXELS = 10**9


class Ours(DetectionModel):
    """Our engine as a model of SAHI's."""

    def load_model(self) -> None:
        """Loads the file at model_path."""
        self.model = Engine(Path(self.model_path), "cpu", 0)
        manifest = self.model.manifest
        self.framing = Framing(manifest.resize, manifest.buckets, MAX_PIXELS)
        self.wanted = Wanted((0.0,) * len(manifest.classes), None, None, 0, ())
        self.category_mapping = {str(i): name for i, name in enumerate(manifest.classes)}

    def check_dependencies(self, *_: Any) -> None:
        """None but ours."""

    def perform_inference(self, image: Any) -> None:
        """Looks at one slice."""
        frame = frame_of(
            Image.fromarray(np.ascontiguousarray(image)), image.shape[:2], self.framing
        )
        outputs = self.model.run([frame.pixels], [frame.content])[0]
        found = detected(outputs, frame, self.model.manifest, self.wanted)
        self._original_predictions = found.detections

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list: Any = None, full_shape_list: Any = None
    ) -> None:
        shift, full = _first(shift_amount_list), _first(full_shape_list)
        classes = self.model.manifest.classes
        self._object_prediction_list_per_image = [
            [
                ObjectPrediction(
                    bbox=list(each.box),
                    score=each.score,
                    category_id=classes.index(each.label),
                    category_name=each.label,
                    shift_amount=shift or [0, 0],
                    full_shape=full,
                )
                for each in self._original_predictions
                if each.box[2] > each.box[0] and each.box[3] > each.box[1]
            ]
        ]


def _first(given: Any) -> Any:
    return given[0] if given and isinstance(given[0], list) else given


def main() -> None:
    """Writes the results, and prints the seconds of an image."""
    model = Ours(model_path=sys.argv[1], confidence_threshold=0.0, device="cpu")
    folder, out = Path(sys.argv[2]), Path(sys.argv[3])
    truth = json.loads((folder / "all.json").read_text(encoding="utf-8"))
    ids = {each["name"]: each["id"] for each in truth["categories"]}
    results: list[dict[str, Any]] = []
    began = perf_counter()
    for image in truth["images"]:
        size = (image["height"], image["width"])
        (_, _, height, width), *_ = windows(size, model.model.manifest.resize, "auto")
        found = get_sliced_prediction(
            str(folder / image["file_name"]),
            model,
            slice_height=height,
            slice_width=width,
            overlap_height_ratio=OVERLAP,
            overlap_width_ratio=OVERLAP,
            verbose=0,
        )
        for each in found.object_prediction_list:
            entry = {"image_id": image["id"], "category_id": ids[each.category.name]}
            bbox, score = [float(side) for side in each.bbox.to_xywh()], float(each.score.value)
            results.append({**entry, "bbox": bbox, "score": score})
    print(f"{(perf_counter() - began) / len(truth['images']):.2f} s an image")
    out.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
