from types import SimpleNamespace

import pytest
import torch

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
        iter=6,
        val_loop=SimpleNamespace(dataloader=[torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0])]),
        visualizer=SimpleNamespace(add_scalars=lambda values, step: scalars.update(values, step=step)),
        logger=SimpleNamespace(info=lambda text: None),
    )
    distiller = Distiller()
    means = validate_stages(runner, distiller, 'layer1')
    assert means == pytest.approx(dict(loss=4.0, other=-4.0))
    assert scalars == pytest.approx(dict(val_loss=4.0, val_other=-4.0, step=7))
    assert distiller.training
