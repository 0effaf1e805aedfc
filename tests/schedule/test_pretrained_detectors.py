"""A detector whose backbone has pretrained weights: by default its neck learns by itself, then everything does."""

from pathlib import Path

import pytest

from mmkd.errors import UserError
from tests.distil_detectors import config_of, distil, few_digits, kind, plain, teacher  # noqa: F401  (fixtures)

pytestmark = pytest.mark.parametrize('kind', ['RetinaNet'], indirect=True, scope='session')
PRETRAINED = {'model.student.backbone.init_cfg': [dict(type='Pretrained', checkpoint='weights.pth')]}
DEFAULT = dict(stages=None, lengths=None, unfreeze_last=None)


def schedule_of(distil, work_dir: Path, hook: dict, **changes) -> tuple[str, str]:  # noqa: F811
    """The schedule in words, and the plan in the log."""
    changes = {'train_cfg.max_epochs': 30, 'train_cfg.val_interval': 30, **changes}
    runner = distil(work_dir, hook={**DEFAULT, **hook}, **changes)
    runner.model.init_weights = lambda: None  # this file does not exist
    runner.call_hook('before_run')
    stages = next(hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
    (log,) = work_dir.glob('*/*.log')
    return stages.schedule.in_words, log.read_text()


@pytest.mark.parametrize(
    ('hook', 'changes', 'words'),
    [
        ({}, PRETRAINED, 'neck (3 epochs), all (27 epochs)'),  # five stages would have had 3 epochs each
        ({}, {**PRETRAINED, 'model.student.backbone.frozen_stages': 1}, 'neck (4 epochs), all (26 epochs)'),  # four
        ({}, {}, ', '.join(f'{name} (3 epochs)' for name in (*(f'layer{i}' for i in range(1, 5)), 'neck'))),
        (dict(unfreeze_last=False), PRETRAINED, 'layer1 (3 epochs), '),  # as the paper has it, all must learn before
        (dict(stages=['layer4', 'neck', 'all'], lengths=[3, 5, 22]), PRETRAINED, 'layer4 (3 epochs), neck (5 epochs),'),
        (dict(fractions=[0.3, 0.7]), PRETRAINED, 'neck (9 epochs), all (21 epochs)'),
    ],
)
def test_the_epochs_of_its_backbone_go_to_the_last_phase(distil, tmp_path, hook, changes, words):  # noqa: F811
    found, log = schedule_of(distil, tmp_path, hook, **changes)
    assert found.startswith(words)
    said = log.count('starts from pretrained weights, learns in the last phase')
    assert said == (0 if 'layer1 (' in words else 4 - ('layer4 (' in words) - ('frozen_stages' in str(changes)))


def test_numbers_for_other_stages_are_told(distil, tmp_path):  # noqa: F811
    with pytest.raises(UserError, match=r'lengths: 6 numbers for 2 stages \(neck, all\); give one each'):
        schedule_of(distil, tmp_path, dict(lengths=[3] * 5 + [15]), **PRETRAINED)
