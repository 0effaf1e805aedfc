"""Classifiers on a pretended GPU: all tensors lie on one device, and no iteration waits for it."""

import pytest

from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
from tests.losses.test_all_methods import METHODS
from tests.pretended.bounds import compare
from tests.pretended.terms import TERMS
from tests.pretended.trainings import CASES, count_phases, short

THEIRS = {  # waits of the toolboxes, by words of the case: the scaler looks for overflows, ArcFace's head at its labels
    'dtype float16': 'mmengine/optim/optimizer/amp_optimizer_wrapper.py:',
    'verification': 'mmpretrain/models/losses/utils.py:',
}
OF_DETECTORS = {'CrossKDBoxLoss', 'CrossKDCenternessLoss', 'CrossKDClassLoss', 'FGDLoss', 'LDLoss'}


@pytest.mark.parametrize('case', CASES)
def test_phases(distil, teacher, tmp_path, case):  # noqa: F811
    changes = CASES[case]
    changes = changes(teacher, tmp_path) if callable(changes) else changes
    phases = count_phases(distil, **{**short(changes), **changes})
    assert phases
    theirs = tuple(line for words, line in THEIRS.items() if words in case)
    for phase, counted in phases.items():
        assert not [line for line in counted.waits if not line.startswith(theirs)], phase
        assert not counted.blocking, phase
    compare(case, phases)


def test_every_loss_is_a_case():
    used = {term['loss']['type'].removeprefix('mmkd.') for term in TERMS.values()}
    assert used | OF_DETECTORS | {'SimKDLoss'} == set(METHODS)
