"""What a file of weights is of, by the names in it: another family of detectors is named as what it is."""

from collections.abc import Sequence
from typing import Literal

from model.importers.layout import ImportRefused
from model.network.state_dicts import names_in

Project = Literal["torchvision", "detectron2", "mmdetection"]
# Whose weights -> parts of names of which it has all. The first that fits; what is no Faster R-CNN comes before.
_FAMILIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "a Cascade R-CNN": (("roi_head.bbox_head.0.fc_cls",), ("roi_heads.box_predictor.0.",)),
    "an FCOS": (("bbox_ctrness",), ("fcos_head.",), ("conv_centerness",), ("head.ctrness",)),
    "an SSD": (("backbone.scale_weight",), ("head.classification_head.module_list",)),
    "a RetinaNet": (
        ("head.classification_head.", "head.regression_head."),
        ("head.cls_subnet.",),
        ("retina_cls",),
    ),
    "a YOLO": (
        (".dfl.conv.",),
        (".anchor_grid",),
        ("multi_level_conv_cls",),
        ("convs_pred.0",),
        ("model.0.conv.weight", "model.24.m."),
    ),
    "a DETR": (
        ("query_embed",),
        ("class_embed.", "bbox_embed."),
        ("transformer.encoder.layers.",),
        ("encoder.layers.0.self_attn.sampling_offsets",),
    ),
}
_PROJECTS: dict[Project, tuple[str, ...]] = {
    "detectron2": ("proposal_generator.rpn_head.objectness_logits",),
    "mmdetection": ("rpn_head.rpn_cls", "roi_head.bbox_head.fc_cls"),
    "torchvision": ("rpn.head.cls_logits", "roi_heads.box_predictor.cls_score"),
}
CAN_BE = (
    "what can be imported are the Faster R-CNNs (and the boxes of the Mask R-CNNs) of torchvision, Detectron2 and"
    " MMDetection"
)


def require_family(content: object, project: Project, *, any_project: bool = False) -> None:
    """Refuse a file of another family, or, unless it may be of `any_project`, of another project's Faster R-CNN.

    Raises:
        ImportRefused: it is one; the message says which. Whatever is of no known family passes.
    """
    names = names_in(content)
    for other, parts in _PROJECTS.items():
        if _has(names, parts):
            if not any_project and other != project and not _has(names, _PROJECTS[project]):
                raise ImportRefused(
                    f"expected weights of {project}, got those of {other}: fpn-import {other}"
                )
            return
    for family, kinds in _FAMILIES.items():
        if any(_has(names, parts) for parts in kinds):
            raise ImportRefused(f"expected a Faster R-CNN, got the weights of {family}; {CAN_BE}")


def project_of(content: object) -> Project:
    """Whose Faster R-CNN a file's `content` is of.

    Raises:
        ImportRefused: nobody's; another family is named as what it is.
    """
    require_family(content, "torchvision", any_project=True)
    names = names_in(content)
    for project, parts in _PROJECTS.items():
        if _has(names, parts):
            return project
    raise ImportRefused(
        f"expected a checkpoint of fpn-train, or weights of {', '.join(sorted(_PROJECTS))}, got another torch file"
    )


def _has(names: Sequence[str], parts: Sequence[str]) -> bool:
    return all(any(part in name for name in names) for part in parts)
