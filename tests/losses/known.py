"""Values and gradients that public implementations return for given inputs, in float64.

The numbers of tests/data/kd_losses.npz were made by running RepDistiller, mdistiller, MMRazor and the authors' own
repositories (of logit standardisation, DIST, MasKD, overhaul-distillation, ReviewKD, SimKD, ICKD, MGD, FGD, LD and
CrossKD) with PyTorch 2.14.1 on a CPU. They are numbers only; no code of any of these is in mmkd. Names are
``loss/name``: ``student``, ``teacher`` (or ``student0``, ``student1`` ... of several levels, shallow first), the
loss's parameters ``param.*``, its ``value64``, its gradients ``grad64*`` by the student's and ``pgrad.*`` by these.
"""

import re

import numpy as np
import pytest
import torch

from tests.conftest import ROOT

ARRAYS = np.load(ROOT / 'tests' / 'data' / 'kd_losses.npz')


class Known:
    """One loss's numbers."""

    def __init__(self, name: str):
        self.name = name
        self.names = [key.split('/', 1)[1] for key in ARRAYS.files if key.startswith(f'{name}/')]
        self.students = [self[key].requires_grad_() for key in self._numbered('student')]
        self.teachers = [self[key] for key in self._numbered('teacher')]

    def __getitem__(self, key: str) -> torch.Tensor:
        tensor = torch.from_numpy(ARRAYS[f'{self.name}/{key}'])
        return tensor.double() if tensor.is_floating_point() else tensor

    @property
    def shapes(self) -> tuple[list, list]:
        return [tuple(x.shape[1:]) for x in self.students], [tuple(x.shape[1:]) for x in self.teachers]

    def load(self, loss: torch.nn.Module, renames: dict[str, str]) -> None:
        """Load parameters into a loss; patterns translate its parameters' names into the file's."""
        self.own = {}
        for key in self.names:
            if key.startswith('param.'):
                name = key.removeprefix('param.')
                for pattern, replacement in renames.items():
                    name = re.sub(pattern, replacement, name)
                self.own[name] = key.removeprefix('param.')
        loss.double()
        learned = dict(loss.named_parameters())
        assert learned.keys() == self.own.keys()
        for name, key in self.own.items():
            learned[name].data.copy_(self[f'param.{key}'].view(learned[name].shape))

    def check(self, value: torch.Tensor, loss: torch.nn.Module | None = None, rel: float = 1e-8) -> None:
        """Check the value and all gradients."""
        value.backward()
        assert value.dtype == torch.float64
        assert value.item() == pytest.approx(self['value64'].item(), rel=rel)
        for student, key in zip(self.students, self._numbered('grad64')):
            self._near(student.grad, self[key], rel, key)
        for name, parameter in loss.named_parameters() if loss is not None else ():
            key = f'pgrad.{self.own[name]}'
            self._near(parameter.grad, self[key].view(parameter.shape), max(rel, 1e-6), key)  # a float32 buffer

    def _near(self, found: torch.Tensor, known: torch.Tensor, rel: float, key: str) -> None:
        largest = known.abs().max().item()
        assert (found - known).abs().max().item() <= rel * largest + 1e-15, f'{self.name}/{key}'

    def _numbered(self, key: str) -> list[str]:
        return sorted(name for name in self.names if re.fullmatch(rf'{key}\d?', name))
