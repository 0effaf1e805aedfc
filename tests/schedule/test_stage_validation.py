import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmkd.cli.default_hooks import add_safe_hooks
from mmkd.schedule.stage_validation import validate_stages


class Distiller:
    """Its loss is the mean over the batch; it must be called in evaluation mode."""

    training = True

    def eval(self):
        self.training = False

    def train(self):
        self.training = True

    def data_preprocessor(self, batch, training):
        assert not training
        return dict(inputs=batch, data_samples=[])

    def measure(self, inputs, data_samples):
        assert not self.training
        return dict(loss=inputs.mean(), other=-inputs.mean())


def test_means_are_those_of_images_and_not_of_batches():
    scalars = {}
    runner = SimpleNamespace(
        val_loop=SimpleNamespace(dataloader=[torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0])]),
        visualizer=SimpleNamespace(add_scalars=lambda values, step: scalars.update(values, step=step)),
        logger=SimpleNamespace(info=lambda text: None),
    )
    distiller = Distiller()
    means = validate_stages(runner, distiller, 'layer1', 7)
    assert means == pytest.approx(dict(loss=4.0, other=-4.0))
    assert scalars == pytest.approx(dict(val_loss=4.0, val_other=-4.0, step=7))
    assert distiller.training


@pytest.mark.parametrize('by_epoch', [True, False])
def test_all_scalars_have_one_axis(distil, tmp_path, by_epoch):
    """Epochs of four iterations, a stage of each kind: all is logged at the iterations that were done."""
    safe: dict = dict(default_hooks=dict(logger=dict(type='LoggerHook', interval=1)))
    add_safe_hooks(safe := Config(safe))
    logger = {f'default_hooks.logger.{key}': value for key, value in safe.default_hooks.logger.items() if key != 'type'}
    lengths = [2, 1] if by_epoch else [6, 6]
    hook = dict(stages=['layer1', 'head'], lengths=lengths, score_teacher=False)
    distil(hook=hook, **{'train_cfg.max_epochs': 3, **logger}).train()
    (file,) = tmp_path.rglob('scalars.json')
    steps: dict[str, list[int]] = {}
    for line in map(json.loads, file.read_text().splitlines()):
        for key in line:
            steps.setdefault(key, []).append(line['step'])
    assert steps['loss'] == list(range(1, 13))
    assert steps['val_mimic_loss'] == ([4, 8] if by_epoch else [4, 6])
    assert steps['accuracy/top1'] == ([12] if by_epoch else [8, 12])
