"""The student's own loss and the terms beside it: which networks run, how far, and what is summed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmkd.features.capture import ModuleOutput
from mmkd.objectives.objective import Step
from mmkd.objectives.own_loss import OwnLoss
from mmkd.objectives.term import Term

STEP = Step(('first', 'head'), torch.ones(2, 3), None)


class Network(nn.Module):
    """A network of two layers that records their calls."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.ran = nn.Linear(3, 4), nn.Linear(4, 5), []
        for name, layer in self.named_children():
            layer.register_forward_hook(lambda *_, name=name: self.ran.append(name))

    def extract_feat(self, inputs):
        return self.second(self.first(inputs))

    def loss(self, inputs, data_samples):
        return dict(loss=self.extract_feat(inputs).sum())


class Networks:
    def __init__(self):
        self.student, self.asked = Network(), []
        self.plan = SimpleNamespace(head=SimpleNamespace(name='head'))

    def run_teacher(self, stages, inputs, data_samples):
        self.asked.append([stage.end for stage in stages])
        return [(torch.full((2, 4), 7.0),) for _ in stages]


class Distance(Term):
    """A term that reads one layer of each network, from a given part of the phase on."""

    def __init__(self, networks, name, after=0.0, places=('first',)):
        super().__init__(networks)
        self.name, self.after, self.places = name, after, [ModuleOutput(place) for place in places]
        self.heads, self.loss = nn.Linear(1, 1), nn.Identity()

    def acts_in(self, phase):
        return 'first' in phase

    def acts_at(self, step):
        return self.acts_in(step.phase) and step.progress >= self.after

    def student_stages(self, phase):
        return self.places

    def teacher_stages(self, phase):
        return self.places

    def losses(self, step, student, teacher):
        return {f'loss_{self.name}': teacher.of(self.places)[0][0].mean() + len(student.of(self.places))}

    def learns_from_images(self, phase):
        return True

    def trained_extras(self, phase):
        return [self.heads]

    def trained_losses(self, phase):
        return [self.loss]


@pytest.fixture
def networks():
    return Networks()


def test_terms_share_one_forward_of_each_network(networks):
    terms = [Distance(networks, 'one'), Distance(networks, 'two', places=('first', 'second'))]
    losses = OwnLoss(networks, terms, weight=3.0).losses(STEP)
    assert networks.student.ran == ['first', 'second']
    assert networks.asked == [['first', 'second']]
    assert list(losses) == ['loss_own', 'loss_one', 'loss_two']
    assert losses['loss_own'] == 3 * networks.student.loss(STEP.inputs, None)['loss']
    assert (losses['loss_one'], losses['loss_two']) == (8, 9)


def test_no_teacher_runs_while_every_term_is_off(networks):
    objective = OwnLoss(networks, [Distance(networks, 'late', after=0.5)])
    early = objective.losses(STEP)
    assert list(early) == ['loss_own', 'loss_idle']  # this name stays the same during the whole phase
    early['loss_idle'].backward()
    assert early['loss_idle'] == objective.terms[0].heads.weight.grad == 0  # DDP waits for an unused one
    assert list(objective.losses(replace(STEP, phase=('head',)))) == ['loss']
    assert networks.asked == []
    assert list(objective.losses(replace(STEP, progress=0.5))) == ['loss_own', 'loss_late']
    assert networks.asked == [['first']]
    assert objective.trained_extras(STEP.phase)  # from the start, since the optimizer is built at the phase's start


def test_without_labels_the_student_runs_no_further_than_the_terms(networks):
    losses = OwnLoss(networks, [Distance(networks, 'one')]).losses(replace(STEP, labelled=False))
    assert networks.student.ran == ['first']
    assert list(losses) == ['loss_one']


def test_what_has_parameters_is_ordered_as_in_older_checkpoints(networks):
    one, two = Distance(networks, 'one'), Distance(networks, 'two')
    two.heads, three = one.heads, Distance(networks, 'three')  # two terms may share an adapter
    objective = OwnLoss(networks, [one, two, three])
    assert objective.trained_extras(STEP.phase) == [one.heads, three.heads, one.loss, two.loss, three.loss]
    assert objective.trained_extras(('head',)) == []


def test_it_takes_the_phases_with_the_head(networks):
    objective = OwnLoss(networks, [Distance(networks, 'one')])
    assert [objective.takes(phase) for phase in (('head',), ('first', 'head'), ('first',))] == [True, True, False]
