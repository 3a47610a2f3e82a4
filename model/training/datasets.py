"""The data sets of a run: what it trains on, what it is scored on, and the proposals given with both."""

import logging
from dataclasses import dataclass
from pathlib import Path

from model.config.training import DataConfig
from model.data.coco import CocoDataset
from model.data.faults import DataError, some
from model.data.image_files import ALONE, Sharing
from model.data.proposal_file import ProposalSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Datasets:
    """Those of a run; classes are matched by name, ids may differ. None where there are none."""

    training: CocoDataset
    validation: CocoDataset | None = None
    train_proposals: ProposalSet | None = None
    val_proposals: ProposalSet | None = None

    @property
    def digest(self) -> str:
        """What names all that training sees: images, sizes, boxes, and the proposals given with them."""
        given = self.train_proposals
        return self.training.digest + (f"+{given.digest}" if given else "")


def read_datasets(data: DataConfig, sharing: Sharing = ALONE) -> Datasets:
    """The data sets that a configuration names; the processes of `sharing` divide the decoding of all images.

    Raises:
        DataError: a file contradicts itself or the others, or no class is in both.
    """
    training = CocoDataset.read(
        data.root / data.train_annotations,
        data.root / data.train_images,
        skip_empty=data.skip_empty,
        verify=sharing if data.verify else None,
        without=data.without_classes,
        format=data.format,
    )
    logger.info("training on %s", training.inventory)
    _require_boxes(data.root / data.train_annotations, training)
    validation = None
    if data.val_annotations and data.val_images:
        validation = CocoDataset.read(
            data.root / data.val_annotations,
            data.root / data.val_images,
            verify=sharing if data.verify else None,
            without=data.without_classes,
            format=data.format,
        )
        if not validation.inventory.boxes:
            raise DataError(f"{data.root / data.val_annotations}: no boxes, so nothing to score")
        _require_common_class(data, training, validation)
    return Datasets(
        training,
        validation,
        _proposals(data.train_proposals, training),
        _proposals(data.val_proposals, validation),
    )


def _require_boxes(annotations: Path, training: CocoDataset) -> None:
    """Refuses a training set without boxes, and says which classes have none."""
    if not training.inventory.boxes:
        raise DataError(f"{annotations}: nothing to learn from: no boxes in {len(training)} images")
    used = {int(label) for record in training.records for label in record.labels}
    unused = [name for label, name in enumerate(training.class_names) if label not in used]
    if unused:
        logger.warning(
            "%s: classes without boxes, which cannot be learnt: %s; leave them out with data.without_classes",
            annotations,
            some(unused),
        )


def _require_common_class(data: DataConfig, training: CocoDataset, validation: CocoDataset) -> None:
    """Refuses, before training, what no evaluation could score; evaluations say what else differs."""
    if set(training.class_names).isdisjoint(validation.class_names):
        raise DataError(
            f"{data.val_annotations}: expected some of the training set's classes"
            f" {some(training.class_names)}, got {some(validation.class_names)}"
        )


def _proposals(path: Path | None, dataset: CocoDataset | None) -> ProposalSet | None:
    return None if path is None or dataset is None else ProposalSet.read(path, dataset)
