"""A file of another family of detectors is named as what it is."""

import pytest
import torch
from torchvision.models import get_model

from model.importers.families import Project, require_family
from model.importers.layout import ImportRefused

MMDETECTION = {"rpn_head.rpn_cls.weight": 0, "roi_head.bbox_head.fc_cls.weight": 0}


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("retinanet_resnet50_fpn", "a RetinaNet"),
        ("retinanet_resnet50_fpn_v2", "a RetinaNet"),
        ("fcos_resnet50_fpn", "an FCOS"),
        ("ssdlite320_mobilenet_v3_large", "an SSD"),
    ],
)
def test_torchvisions_other_detectors_are_named(model: str, family: str) -> None:
    with torch.device("meta"):
        state = get_model(model, weights=None, weights_backbone=None).state_dict()
    with pytest.raises(ImportRefused, match=f"got the weights of {family}; what can be imported"):
        require_family({"model": state}, "torchvision")


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (("backbone.bottom_up.stem.conv1.weight", "head.cls_subnet.0.weight"), "a RetinaNet"),
        (("bbox_head.retina_cls.weight",), "a RetinaNet"),
        (("bbox_head.conv_centerness.weight",), "an FCOS"),
        (("model.0.conv.weight", "model.22.dfl.conv.weight"), "a YOLO"),
        (("transformer.encoder.layers.0.linear1.weight", "query_embed.weight"), "a DETR"),
        (("roi_head.bbox_head.0.fc_cls.weight",), "a Cascade R-CNN"),
    ],
)
def test_other_projects_families_are_told_by_their_names(
    names: tuple[str, ...], family: str
) -> None:
    with pytest.raises(ImportRefused, match=f"got the weights of {family};"):
        require_family({"state_dict": dict.fromkeys(names, 0)}, "mmdetection")


@pytest.mark.parametrize("project", ["torchvision", "detectron2"])
def test_another_projects_faster_rcnn_is_sent_to_its_own_importer(project: Project) -> None:
    with pytest.raises(ImportRefused, match="got those of mmdetection: fpn-import mmdetection"):
        require_family({"state_dict": MMDETECTION}, project)
    require_family({"state_dict": MMDETECTION}, "mmdetection")
