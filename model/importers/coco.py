"""COCO's 80 classes, as Detectron2 and MMDetection score them, and their ids in the data set, which run to 90."""

from collections.abc import Mapping

from model.config.detector import DetectorConfig
from model.importers.layout import Layout, imported, named_classes
from model.importers.torchvision import coco_classes
from model.network.detector import Detector


def imported_of_coco(
    layout: Layout,
    state: Mapping[str, object],
    config: DetectorConfig,
    class_names: tuple[str, ...],
) -> Detector:
    """The detector of `state` with the classes that are named, or with COCO's 80 and their ids where none are.

    Raises:
        ImportRefused: `state` is of another detector, or of another number of classes.
    """
    published = {
        name: number
        for number, name in enumerate(coco_classes(), start=1)
        if not name.startswith("unused")
    }
    names = named_classes(layout.num_classes(state), class_names, tuple(published))
    detector = imported(layout, state, config, names)
    if names == tuple(published):
        detector.category_ids = tuple(published.values())
    return detector
