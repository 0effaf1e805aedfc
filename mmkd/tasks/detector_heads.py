"""Which of the detectors' own heads can be compared."""

from torch import nn

from mmkd.errors import UserError
from mmkd.heads import scores_classes
from mmkd.tasks.dense_heads import DenseHeads
from mmkd.tasks.head_pair import LEAVE_OUT, HeadPair
from mmkd.tasks.proposal_heads import ProposalHeads


def pair_heads(student: nn.Module, teacher: nn.Module) -> HeadPair:
    """How the own heads of two detectors are compared, or an error."""
    kinds = []
    for key, network in (('student', student), ('teacher', teacher)):
        if hasattr(network, 'roi_head') and hasattr(network.roi_head, 'bbox_roi_extractor'):
            kinds.append(ProposalHeads)
        elif scores_classes(getattr(network, 'bbox_head', None)):
            kinds.append(DenseHeads)  # type: ignore[arg-type]
        else:
            head = getattr(network, 'bbox_head', None) or network.roi_head
            raise UserError(
                f'model.{key}: its {type(head).__name__} scores no classes at anchors, points or proposals that '
                f'another head could score too; {LEAVE_OUT}.'
            )
    if kinds[0] is not kinds[1]:
        raise UserError(
            f'model.teacher: a {type(teacher).__name__} and a {type(student).__name__} score different places '
            f'(anchors or points in one, proposals in the other); {LEAVE_OUT}.'
        )
    return kinds[0]()
