"""Classifiers on a pretended GPU: all tensors lie on one device, and no iteration waits for it."""

import pytest

from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
from tests.pretended.bounds import compare
from tests.pretended.trainings import CASES, SHORT, count_phases


@pytest.mark.parametrize('case', CASES)
def test_phases(distil, teacher, tmp_path, case):  # noqa: F811
    changes = CASES[case]
    changes = changes(teacher, tmp_path) if callable(changes) else changes
    sizes = {key: value for key, value in SHORT.items() if not ('train_dataloader' in changes and 'dataset' in key)}
    phases = count_phases(distil, **{**sizes, **changes})
    assert phases
    for phase, counted in phases.items():
        assert not counted.waits, phase
        assert not counted.blocking, phase
    compare(case, phases)
