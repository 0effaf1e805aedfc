from types import SimpleNamespace

import pytest
from torch import nn

from mmkd.errors import UserError
from mmkd.tasks import task_of
from mmkd.tasks.classification import Classification
from mmkd.tasks.detection import Detection


class Network(nn.Module):
    def __init__(self, *parts: str):
        super().__init__()
        for part in parts:
            self.add_module(part, nn.Identity())


def choose(student: Network, teacher: Network):
    return task_of(student, SimpleNamespace(network=teacher))


@pytest.mark.parametrize(
    ('parts', 'task'),
    [(['head'], Classification), (['bbox_head'], Detection), (['rpn_head', 'roi_head'], Detection)],
)
def test_by_the_part_that_scores(parts, task):
    assert type(choose(Network(*parts), Network(*parts))) is task


def test_different_kinds_of_detectors_have_one_task():
    assert type(choose(Network('bbox_head'), Network('roi_head'))) is Detection


def test_a_classifier_cannot_teach_scores_to_a_detector():
    with pytest.raises(UserError, match=r'model\.teacher: it is a Network, the student a Network: their scores mean'):
        choose(Network('bbox_head'), Network('head'))


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_neither(whose):
    networks = {'student': Network('head'), 'teacher': Network('head'), whose: Network('mask_head')}
    with pytest.raises(UserError, match=rf'model\.{whose}: a Network scores neither images nor boxes.*mmkd\.SSKD'):
        choose(**networks)
