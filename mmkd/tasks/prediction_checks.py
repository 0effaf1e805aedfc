"""Whether what two detectors predict can be compared, tried before the training."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.every_call import every_call
from mmkd.features.padding import Padded
from mmkd.heads import scores_classes
from mmkd.stages.trace import unchanged
from mmkd.tasks.predictions import BRANCHES, Predictions, has_bins, predict
from mmkd.tasks.targets import Targets


def check_kinds(key: str, student: nn.Module, teacher: nn.Module, form: str) -> None:
    """Refuse detectors whose heads do not predict what is compared.

    Args:
        key: Of the term.
        student: A detector.
        teacher: Another.
        form: ``'scores'``, ``'bins'``, ``'boxes'`` or ``'centerness'``.
    """
    for name, network in (('student', student), ('teacher', teacher)):
        head = getattr(network, 'bbox_head', None)
        if not scores_classes(head):
            raise UserError(
                f'{key}.places: the {name}, a {type(network).__name__}, has no dense head that scores anchors or '
                "points, and this term compares what such heads predict; leave it out, or compare places='scores'."
            )
        if form == 'bins' and not has_bins(head):
            raise UserError(
                f"{key}.loss: the {name}'s {type(head).__name__} says by one number where the side of a box is, and "
                'this loss compares distributions over bins; take heads that have them, such as GFLHead, or '
                "places='cross_boxes' with mmkd.CrossKDBoxLoss."
            )
        if form == 'centerness' and not hasattr(head, 'loss_centerness'):
            raise UserError(
                f"{key}.places: the {name}'s {type(head).__name__} predicts no centerness; leave the term out."
            )
    own, theirs = (getattr(network.bbox_head, 'reg_max', None) for network in (student, teacher))
    if form == 'bins' and own != theirs:
        raise UserError(
            f"{key}.loss: the student's head has {own} as its reg_max, the teacher's {theirs}, so their bins are not "
            'the same; give both the same.'
        )


def check_targets(key: str, network: nn.Module, inputs: Tensor) -> None:
    """Refuse a student whose own class loss does not tell the class of each place."""
    head = network.get_submodule('bbox_head')
    height, width = inputs.shape[-2:]
    box = inputs.new_tensor([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]])
    boxes = [InstanceData(bboxes=box, labels=torch.zeros(1, dtype=torch.long, device=box.device)) for _ in inputs]
    size = dict(img_shape=(height, width), batch_input_shape=(height, width), pad_shape=(height, width))
    why = ''
    try:
        with torch.no_grad(), unchanged(network):
            network.eval()
            said = predict(head, network.extract_feat(inputs))  # type: ignore[operator]
            with every_call(network, ['bbox_head.loss_cls']) as calls:
                head.loss_by_feat(*said.output, boxes, [size] * len(boxes), [None] * len(boxes))  # type: ignore[operator]
        targets = Targets.of(calls['bbox_head.loss_cls'], head.num_classes)  # type: ignore[arg-type]
        if targets is None or len(targets.labels) != len(said.scores.logits):
            why = 'its loss names no class for each place'
    except Exception as error:  # a toolbox's heads may raise anything
        why = in_one_line(error)
    if why:
        raise UserError(
            f"{key}.places: the student's {type(head).__name__} does not tell which places hold objects ({why}); leave "
            "the term out, or compare places='scores'."
        )


def check_cross(
    key: str, student: tuple[nn.Module, Padded], teacher: tuple[nn.Module, Padded], convs: int | None
) -> tuple[int, dict[str, tuple[int, int]]]:
    """Try the teacher's head behind convolutions of the student's.

    Args:
        key: Of the term.
        student: A detector and a batch as it gets it.
        teacher: The same of the teacher.
        convs: How many convolutions of the student's come first; None: the teacher's but one.

    Returns:
        Their number, and the widths of both networks there, by the paths of the convolutions that come next.
    """
    heads = [network.get_submodule('bbox_head') for network, _ in (student, teacher)]
    for name, head in zip(('student', 'teacher'), heads):
        if not all(isinstance(getattr(head, branch, None), nn.ModuleList) for branch in BRANCHES):
            raise UserError(
                f"{key}.places: the {name}'s {type(head).__name__} has no lists of convolutions "
                f'({" and ".join(BRANCHES)}) between which features could change heads, as those of GFL, RetinaNet, '
                "ATSS and FCOS have; compare places='scores' or 'boxes'."
            )
    own, theirs = (min(len(getattr(head, branch)) for branch in BRANCHES) for head in heads)
    wanted = theirs - 1 if convs is None else convs
    if wanted < 0 or wanted >= min(own, theirs):
        raise UserError(
            f"{key}.own_convs: {wanted} of the student's convolutions are to come before the teacher's, and both "
            f'heads must have more than that; the student has {own}, the teacher {theirs}.'
        )
    paths = [f'{branch}.{wanted}' for branch in BRANCHES]
    said = [_predicted(network, padded, paths) for network, padded in (student, teacher)]
    if why := _why_not(said[1]):
        raise UserError(
            f"{key}.places: the teacher's {type(heads[1]).__name__} cannot go on from other features ({why}); compare "
            "places='scores' or 'boxes'."
        )
    return wanted, {path: tuple(one.inputs[path][0].shape[1] for one in said) for path in paths}  # type: ignore[misc]


def _predicted(network: nn.Module, padded: Padded, paths: Sequence[str]) -> Predictions:
    with torch.no_grad(), unchanged(network):
        network.eval()
        pyramid = padded.cut(network.extract_feat(padded.inputs))  # type: ignore[operator]
        return predict(network.get_submodule('bbox_head'), pyramid, paths)


def _why_not(said: Predictions) -> str:
    """Why a head that goes on from its own features would not predict what it does; ``''`` if it would."""
    try:
        with torch.no_grad():
            again = said.from_features({path: [x.clone() for x in levels] for path, levels in said.inputs.items()})
        same = all(torch.equal(a, b) for kind in (0, 1) for a, b in zip(said.output[kind], again.output[kind]))
        again.boxes  # noqa: B018 (tried)
    except Exception as error:  # a toolbox's heads may raise anything
        return in_one_line(error)
    return '' if same else 'its own scores are others then'
