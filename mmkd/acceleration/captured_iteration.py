"""One iteration in a graph, with the tensors that it reads and writes."""

from collections.abc import Hashable

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd.acceleration.captured_step import CapturedStep
from mmkd.acceleration.cuda_graph import Graph

LABELS = ('gt_label', 'gt_score')  # fields of a classifier's samples that are on the device


class CapturedIteration:
    """A graph of forward and backward, with its input and output tensors.

    Args:
        graph: Empty.
        model: The networks with their losses.
        batch: Preprocessed.
        kind: Which iterations are alike.
        update: The optimizer's step, where it is in the graph, too.
    """

    def __init__(
        self,
        graph: Graph,
        model: BaseModel,
        batch: dict,
        kind: tuple[Hashable, Hashable],
        update: CapturedStep | None = None,
    ):
        self.graph, self.kind, self.update = graph, kind, update
        samples = batch['data_samples']
        self.inputs = torch.empty_like(batch['inputs'])
        self.samples = None if samples is None else [sample.clone() for sample in samples]
        self.labels = {key: torch.cat(_values(samples, key)) for key in _keys(samples)}
        for key, buffer in self.labels.items():
            parts = buffer.split([len(value) for value in _values(samples, key)])
            for sample, part in zip(self.samples or (), parts):
                sample.set_field(part, key, dtype=Tensor)
        self.fill(batch)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        names: list[str] = []
        reached: list[Tensor] = []

        def work() -> list[Tensor]:
            inputs = dict(inputs=self.inputs, data_samples=self.samples)
            loss, logs = model.parse_losses(model._run_forward(inputs, mode='loss'))
            loss.backward()
            names[:] = logs
            pairs = [(parameter, parameter.grad) for parameter in learned if parameter.grad is not None]
            reached[:] = [parameter for parameter, _ in pairs]
            if update is not None:
                update.run()
            return [torch.stack([value.detach() for value in logs.values()]), *(gradient for _, gradient in pairs)]

        before = _buffers(model)
        model.zero_grad()  # otherwise the graph would add to an existing gradient
        try:
            self.logged, *gradients = graph.capture(work)
        except Exception:
            for (module, name), value in before.items():
                module._buffers[name] = value  # a capture computes nothing
            raise
        finally:
            model.zero_grad()  # plain iterations have their own
        self.names, self.gradients = names, list(zip(reached, gradients))
        self.replaced = {place: now for place, now in _buffers(model).items() if now is not before[place]}

    def fill(self, batch: dict) -> None:
        """Copy a batch into the tensors that the graph reads."""
        self.inputs.copy_(batch['inputs'])
        for key, buffer in self.labels.items():
            torch.cat(_values(batch['data_samples'], key), out=buffer)

    def step(self, batch: dict, wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Replay one iteration; the logged values are copies, since the next replay overwrites them."""
        self.fill(batch)
        if self.update is not None:
            self.update.renew()
        self.graph.replay()
        for (module, name), value in self.replaced.items():
            module._buffers[name] = value
        wrapper._inner_count += 1  # a backward pass does this, too
        if self.update is None:
            for parameter, gradient in self.gradients:
                parameter.grad = gradient  # an iteration without the graph may have set other gradients
            wrapper.step()
            wrapper.zero_grad()
        return dict(zip(self.names, self.logged.clone().unbind()))


def shape_of(batch: dict) -> Hashable | None:
    """Shapes and types that two batches must share; None if samples hold anything but labels."""
    inputs, samples = batch['inputs'], batch.get('data_samples')
    if not isinstance(inputs, Tensor) or not set(_keys(samples)) <= set(LABELS):
        return None
    lengths = {key: tuple(len(value) for value in _values(samples, key)) for key in _keys(samples)}
    return inputs.shape, inputs.dtype, inputs.device, tuple(lengths.items())


def _keys(samples: list | None) -> list[str]:
    """The fields of the first sample; all samples of a batch have the same."""
    return sorted(samples[0].keys()) if samples else []


def _values(samples: list | None, key: str) -> list[Tensor]:
    return [sample.get(key) for sample in samples or ()]


def _buffers(model: nn.Module) -> dict[tuple[nn.Module, str], Tensor | None]:
    return {(module, name): value for module in model.modules() for name, value in module._buffers.items()}
