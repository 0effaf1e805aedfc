"""Other ways to train what mmkd trains, on copies of its networks: the floor, running everything, the student alone."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from bare import Feature, feature, head, mimic_loss, own_loss, soft_loss, tensors, walk
from mmkd_training import MmkdTraining
from torch import Tensor, nn

from mmkd.acceleration.batchnorm_folding import unfold
from mmkd.features.adapters import module_key


class Rival:
    """A rival in the phase that mmkd has entered, with the same losses, optimizer and trained parameters.

    Args:
        ours: The training of mmkd.
    """

    def __init__(self, ours: MmkdTraining):
        self.distiller = distiller = ours.distiller
        self.student, self.extras = copy.deepcopy(distiller.student), copy.deepcopy(distiller.extras)
        self.teacher = copy.deepcopy(distiller.teacher.network)  # folded and laid out in memory like mmkd's
        self.inputs, self.samples = ours.processed()
        self._prepare(ours)
        self.names = [stage.name for stage in distiller.plan]
        self.keys = [module_key(name) for name in self.names]  # of adapters and heads
        self.parameters = [p for part in (self.student, self.extras) for p in part.parameters() if p.requires_grad]
        self.optimizer = ours.twin_optimizer(self.parameters)
        self.clip = (ours.runner.optim_wrapper.clip_grad_kwargs or {}).get('max_norm')
        self.loss = self._loss(type(distiller).__name__, ours.phase)

    def _prepare(self, ours: MmkdTraining) -> None:
        """Change the networks; the default leaves them as they are in mmkd."""

    def step(self) -> None:
        """Run one iteration."""
        self.loss().backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _loss(self, method: str, phase: str) -> Callable[[], Tensor]:
        """The loss of the phase."""
        if method == 'KD':
            return self.soft_targets
        if method == 'MHKD':
            return self.many_heads
        if phase == self.names[-1]:
            return self.head_alone
        index = self.names.index(phase)
        return lambda: self.stage(index)

    def stage(self, index: int) -> Tensor:
        """The loss of a stage of SSKD."""
        raise NotImplementedError

    def head_alone(self) -> Tensor:
        """The loss of SSKD's head."""
        raise NotImplementedError

    def soft_targets(self) -> Tensor:
        """The loss of KD."""
        raise NotImplementedError

    def many_heads(self) -> Tensor:
        """The loss of MHKD with its defaults."""
        raise NotImplementedError

    def _mimic(self, index: int, own: Feature, target: Feature) -> Tensor:
        return mimic_loss(self.extras[self.keys[index]](own, target), target)

    def _final(self, own: Tensor, output: Any, target: Any) -> Tensor:
        """The student's own loss, and the soft loss of its scores."""
        soft = soft_loss(output, target, self.student.get_submodule(_head(self.student)).num_classes)
        return self.distiller.gamma * own + self.distiller.soft_targets.weight * soft

    def _heads(self, features: Sequence[Feature], theirs: Sequence[Feature]) -> Tensor:
        """The losses of the auxiliary heads of both networks."""
        term = self.distiller.head_term
        share, beta, classes = term.ce_share, term.weight, term.heads.classes
        terms = []
        for index, name in enumerate(self.keys):
            if name not in self.extras['student_heads']:
                continue
            own_head, their_head = self.extras['student_heads'][name], self.extras['teacher_heads'][name]
            own, target = own_head(features[index]), their_head(theirs[index])
            terms.append(beta * (1 - share) * soft_loss(own, _fixed(target), classes))
            terms.append(beta * share * own_loss(self.student, own, self.samples, own_head))
            terms.append(own_loss(self.student, target, self.samples, their_head))
        return torch.stack(terms).sum()


class Floor(Rival):
    """The minimum: only what a loss needs, without a framework."""

    def stage(self, index: int) -> Tensor:
        """Both networks stop after the stage; only the stage itself has gradients."""
        with torch.no_grad():
            target = feature(self.teacher, self.inputs, index)
            walking = walk(self.student, self.inputs)
            for _ in range(index):
                next(walking)
        return self._mimic(index, next(walking), target)

    def head_alone(self) -> Tensor:
        """The head is trained without a teacher."""
        with torch.no_grad():
            *_, last = walk(self.student, self.inputs)
        return own_loss(self.student, head(self.student, last), self.samples)

    def soft_targets(self) -> Tensor:
        """Two forwards, one backward."""
        with torch.no_grad():
            *_, last = walk(self.teacher, self.inputs)
            target = head(self.teacher, last)
        *_, last = walk(self.student, self.inputs)
        output = head(self.student, last)
        return self._final(own_loss(self.student, output, self.samples), output, target)

    def many_heads(self) -> Tensor:
        """The same, with auxiliary heads."""
        with torch.no_grad():
            theirs = list(walk(self.teacher, self.inputs))
            target = head(self.teacher, theirs[-1])
        features = list(walk(self.student, self.inputs))
        output = head(self.student, features[-1])
        final = self._final(own_loss(self.student, output, self.samples), output, target)
        return final + self._heads(features, theirs)


class RunEverything(Rival):
    """Runs both whole networks with their own losses in every iteration, and hooks that record outputs.

    So MMRazor does it, and public stage-by-stage scripts. What is frozen has no gradient here either, and only the
    phase's own loss is learned from.
    """

    def _prepare(self, ours: MmkdTraining) -> None:
        self.teacher = ours.plain_teacher
        unfold(self.student)
        for network in (self.student, self.extras):
            network.to(memory_format=torch.contiguous_format)

    def stage(self, index: int) -> Tensor:
        """The networks' own losses are computed and ignored."""
        name = self.distiller.plan.stages[index].end
        with torch.no_grad():
            _, (target,) = self._run(self.teacher, [self.distiller.networks.teacher_stages[self.names[index]].end])
        _, (own,) = self._run(self.student, [name])
        return self._mimic(index, tensors(own), tensors(target))

    def head_alone(self) -> Tensor:
        """The teacher runs, though nothing learns from it."""
        with torch.no_grad():
            self._run(self.teacher, [])
        return self._run(self.student, [])[0]

    def soft_targets(self) -> Tensor:
        """The same, with scores."""
        with torch.no_grad():
            _, (target,) = self._run(self.teacher, [_head(self.teacher)])
        own, (output,) = self._run(self.student, [_head(self.student)])
        return self._final(own, output, target)

    def many_heads(self) -> Tensor:
        """The same, with scores and features."""
        ends = [stage.end for stage in self.distiller.plan.stages]
        partners = [self.distiller.networks.teacher_stages[name].end for name in self.names[:-1]]
        with torch.no_grad():
            _, (*theirs, target) = self._run(self.teacher, [*partners, _head(self.teacher)])
        own, (*features, output) = self._run(self.student, [*ends, _head(self.student)])
        heads = self._heads([tensors(x) for x in features], [tensors(x) for x in theirs])
        return self._final(own, output, target) + heads

    def _run(self, network: nn.Module, ends: Sequence[str]) -> tuple[Tensor, list[Any]]:
        """A network's own loss, and the outputs of some modules."""
        kept: dict[str, Any] = {}

        def keeper(end: str) -> Callable:
            return lambda module, args, output: kept.update({end: output})

        hooks = [network.get_submodule(end).register_forward_hook(keeper(end)) for end in ends]
        losses = network(self.inputs, self.samples, mode='loss')
        for hook in hooks:
            hook.remove()
        return self.distiller.parse_losses(losses)[0], [kept[end] for end in ends]


class StudentAlone(RunEverything):
    """The student's own training, compared with a phase of KD in which all of it learns."""

    def soft_targets(self) -> Tensor:
        """The student's own loss."""
        return self._run(self.student, [])[0]


def _head(network: nn.Module) -> str:
    return 'bbox_head' if hasattr(network, 'bbox_head') else 'head'


def _fixed(output: Any) -> Any:
    """A head's output without gradients."""
    return output.detach() if isinstance(output, Tensor) else [[level.detach() for level in output[0]]]
