"""Dense detection heads of a toolbox on the feature of a stage."""

import copy
from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.adapters import level_strides
from mmkd.features.capture import Feature
from mmkd.features.layout import Layout
from mmkd.heads.build import build_module, kind_of, without_statistics
from mmkd.heads.classification import to_map
from mmkd.losses import ClassScores
from mmkd.stages.plan import Stage
from mmkd.utils.signatures import parameters_of

FAR = 1e8  # no object is larger


class DenseHead(nn.Module):
    """A toolbox's dense detection head on every tensor of a stage's feature.

    Args:
        head (nn.Module): Gets a tuple of maps (N, C, H, W).
        layouts (Sequence[Layout]): How the tensors are laid out.
    """

    def __init__(self, head: nn.Module, layouts: Sequence[Layout]):
        super().__init__()
        self.head, self.layouts = head, layouts

    def forward(self, feature: Feature) -> tuple:
        """What the head puts out: class scores first, then boxes and whatever else it needs for its own loss."""
        return tuple(self.head(tuple(to_map((t,), layout) for t, layout in zip(feature, self.layouts, strict=True))))

    def own_losses(self, output: tuple, data_samples: Sequence) -> dict:
        """The head's own losses against the ground truth."""
        boxes = [sample.gt_instances for sample in data_samples]
        ignored = [sample.get('ignored_instances') for sample in data_samples]
        images = [sample.metainfo for sample in data_samples]
        return self.head.loss_by_feat(*output, boxes, images, ignored)  # type: ignore[operator]


def class_scores(head: nn.Module, output: Sequence) -> ClassScores:
    """The class scores in what a dense head puts out: all images, levels and places in one row each."""
    logits = _rows(output[0], head.cls_out_channels)  # type: ignore[arg-type]
    if getattr(head.loss_cls, 'activated', False):  # such a head puts out probabilities
        logits = torch.logit(logits.float(), eps=1e-6)
    objectness = _rows(output[2], 1).squeeze(1) if hasattr(head, 'loss_obj') else None
    return ClassScores(logits, bool(head.use_sigmoid_cls), objectness)


def scores_classes(head: nn.Module | None) -> bool:
    """Whether a head scores classes at anchors or points, so that :func:`class_scores` finds them."""
    return all(hasattr(head, name) for name in ('cls_out_channels', 'use_sigmoid_cls', 'prior_generator', 'loss_cls'))


def build_dense_head(cfg: dict, stage: Stage, num_classes: int) -> DenseHead:
    """An initialised dense head that fits a stage.

    Channels, classes and strides are filled in where a class takes them and the config is silent; so are the ranges of
    sizes that the levels of FCOS share.

    Raises:
        UserError: The head cannot be built, or cannot learn from a box.
    """
    place = f'model.heads: the head of stage {stage.name}'
    layouts = [Layout.of(stage, shape) for shape in stage.shapes]
    if len({layout.width for layout in layouts}) > 1:
        raise UserError(
            f'{place} cannot sit on tensors of different widths ({", ".join(str(x.width) for x in layouts)}); '
            'attach it to one of them.'
        )
    if 'type' not in cfg:
        raise UserError(f"{place} must be dict(type='mmdet.FCOSHead', ...) or another dense head, not {dict(cfg)!r}.")
    try:
        known = dict(in_channels=layouts[0].width, num_classes=num_classes)
        head = build_module(_with_strides(cfg, level_strides(stage, layouts)), **known)
        if not scores_classes(head):
            raise UserError(f'a {type(head).__name__} scores no classes at anchors or points.')
        head.init_weights()  # type: ignore[operator]
        head = DenseHead(head, layouts)
        _dry_run(head, stage)
    except UserError as error:
        raise UserError(f'{place}: {error}') from error
    except Exception as error:  # a toolbox's classes may raise anything
        raise UserError(
            f'{place}, a {cfg["type"]}, cannot be built or cannot learn ({in_one_line(error)}); fix its arguments: as '
            'in a detector of its kind, with its train_cfg where it has an assigner.'
        ) from error
    return head


def _with_strides(cfg: dict, strides: Sequence[int]) -> ConfigDict:
    """The config with what depends on the strides filled in."""
    cfg, parameters = ConfigDict(copy.deepcopy(dict(cfg))), parameters_of(kind_of(cfg))
    if 'strides' in parameters:
        cfg.setdefault('strides', list(strides))
    if 'anchor_generator' in parameters:
        generator = cfg.get('anchor_generator') or copy.deepcopy(parameters['anchor_generator'].default)
        if 'anchor_generator' not in cfg or 'strides' not in generator:
            generator['strides'] = list(strides)
        cfg['anchor_generator'] = generator
    if 'regress_ranges' in parameters:  # from 64 pixels on stride 8 to 128 on stride 16 and so on
        ends = [8 * stride for stride in strides[:-1]]
        cfg.setdefault('regress_ranges', tuple(zip([-1, *ends], [*ends, FAR])))
    return cfg


def _dry_run(head: DenseHead, stage: Stage) -> None:
    """Run with one box on each of two empty maps, so a missing assigner or wrong levels fail here."""
    rows, columns = (8 * side for side in stage.grid or ())
    images = [dict(img_shape=(rows, columns), batch_input_shape=(rows, columns), pad_shape=(rows, columns))] * 2
    boxes = [InstanceData(bboxes=torch.tensor([[1.0, 1.0, 7.0, 7.0]]), labels=torch.tensor([0]))] * 2
    twin = without_statistics(head)
    output = twin(tuple(torch.zeros(2, *shape) for shape in stage.shapes))
    class_scores(twin.head, output)
    twin.head.loss_by_feat(*output, boxes, images, [None, None])


def _rows(levels: Sequence[Tensor], channels: int) -> Tensor:
    """(images * places, channels) of maps (images, places a position * channels, rows, columns)."""
    rows = [level.permute(0, 2, 3, 1).reshape(len(level), -1, channels) for level in levels]
    return torch.cat(rows, dim=1).flatten(0, 1)
