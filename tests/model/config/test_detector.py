import pytest

from model.config.detector import AnchorConfig, DetectorConfig, RpnConfig
from model.config.files import ConfigError, from_mapping
from model.config.training import TrainConfig
from tests.model.config.shipped import RUN


def test_the_defaults_are_the_papers() -> None:
    config = from_mapping(TrainConfig, RUN, "test")
    rpn, roi, schedule = config.model.rpn, config.model.roi, config.schedule
    assert config.model.resize.short_side == 800
    assert config.model.pyramid.channels == 256
    assert config.model.anchors == AnchorConfig((32, 64, 128, 256, 512), (0.5, 1, 2))
    assert (rpn.foreground_iou, rpn.background_iou, rpn.batch_per_image) == (0.7, 0.3, 256)
    assert (rpn.post_nms_train, rpn.post_nms_test) == (2000, 1000)
    assert (roi.resolution, roi.fc_channels, roi.batch_per_image) == (7, 1024, 512)
    assert (roi.canonical_size, roi.canonical_level) == (224, 4)
    assert (schedule.batch_size, schedule.learning_rate) == (16, 0.02)
    assert (schedule.momentum, schedule.weight_decay, schedule.decay) == (0.9, 1e-4, 0.1)


@pytest.mark.parametrize(("kind", "head"), [("c4", "fc"), ("c5", "conv5"), ("fpn", "conv5")])
def test_c4_and_the_stage_that_follows_it_go_together(kind: str, head: str) -> None:
    values = {"pyramid": {"kind": kind}, "roi": {"head": head}}
    with pytest.raises(ConfigError, match=f"test: .*{kind}.*{head}"):
        from_mapping(DetectorConfig, values, "test")


def test_background_may_not_overlap_more_than_foreground() -> None:
    with pytest.raises(ConfigError, match="background_iou <= foreground_iou, got 0.8 and 0.7"):
        from_mapping(RpnConfig, {"background_iou": 0.8}, "here")
