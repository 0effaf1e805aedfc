"""What two processes show: the figures of all validation images, once."""

import pytest
import torch
from mmengine.runner import Runner

from mmkd.reporting.run import read_run
from tests.conftest import ROOT
from tests.distil import distillation, without_chance
from tests.processes import run_two

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')


def test_two_processes_show_what_one_does(plain, tmp_path):
    """Of 41 validation images the second process evaluates 20; the pictures come from the first one as well."""
    network, peer = without_chance(plain)
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        network[key] = plain[key]
    hooks = [dict(type='mmkd.SimilarityHook', images=20), dict(type='mmkd.FeatureMapsHook', images=2)]
    phases = dict(stages=['layer1', 'head'], lengths=[1, 1])

    def case(name: str, batch: int):
        cfg = distillation(network, peer, tmp_path / name, phases, custom_hooks=hooks)
        cfg.train_cfg.max_epochs = 2
        cfg.model.student.backbone.norm_cfg = dict(type='GN', num_groups=4)
        cfg.val_dataloader.dataset.indices = 41
        cfg.train_dataloader.batch_size = batch
        return cfg

    torch.save(case('two', 8).to_dict(), tmp_path / 'two.case')
    run_two(ROOT / 'tests' / 'integration' / 'two_processes.py', tmp_path)
    Runner.from_cfg(case('one', 16)).train()
    one, two = (
        [record for record in read_run(tmp_path / name).measures if 'cka_layer1' in record] for name in ('one', 'two')
    )
    assert [record['iteration'] for record in two] == [0, 4, 8]
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, abs=1e-4)
    pictures = [{path.name for path in tmp_path.glob(f'{name}/*/vis_data/vis_image/*')} for name in ('one', 'two')]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 4 * 3
