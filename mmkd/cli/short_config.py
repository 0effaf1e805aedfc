"""The config of a distillation in three statements, as a person would write it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

METHODS = {'sskd': 'SSKD', 'mhkd': 'MHKD', 'kd': 'KD', 'feature-kd': 'FeatureKD', 'simkd': 'SimKD'}
"""The classes of the methods, by their names in file names."""


@dataclass(frozen=True)
class ShortConfig:
    """What distinguishes a distillation from its student's own config.

    Args:
        method: A key of METHODS.
        student: The student's config: a path or ``package::path``.
        teacher: The teacher's.
        checkpoint: Its weights.
        epochs: Of the training, if not the student's.
        schedulers: The student's learning rate policy over that many epochs.
        options: Lines of the model, which choose what the method does besides.
        more: Lines that stand at the end.
    """

    method: str
    student: str
    teacher: str
    checkpoint: str
    epochs: int | None
    schedulers: Sequence[dict] = ()
    options: Sequence[str] = ()
    more: Sequence[str] = ()

    @property
    def file_name(self) -> str:
        """The file name, as the shipped configs are named."""
        return f'{self.method}_{_stem(self.teacher)}_{_stem(self.student)}.py'

    def text(self, folder: Path) -> str:
        """The text of the config for a file in this folder."""
        lines = [
            f'"""{METHODS[self.method]}: {_stem(self.teacher)} teaches {_stem(self.student)}."""',
            f'_base_ = {self._base(folder)!r}',
            'model = dict(',
            '    _delete_=True,',
            f"    type='mmkd.{METHODS[self.method]}',",
            '    student={{_base_.model}},',
            *(f'    {line}' for line in self.options),
            '    teacher=dict(',
            f'        config={self.teacher!r},',
            f'        checkpoint={self.checkpoint!r}))',
        ]
        if self.epochs is not None:
            lines.append(f'train_cfg = dict(max_epochs={self.epochs})')
        if self.schedulers:
            lines.append('param_scheduler = [')
            lines += [
                f'    dict({", ".join(f"{key}={value!r}" for key, value in one.items())}),' for one in self.schedulers
            ]
            lines.append(']')
        return '\n'.join([*lines, *self.more]) + '\n'

    def _base(self, folder: Path) -> str:
        """The student's path relative to that folder; an absolute path stays absolute."""
        if '::' in self.student:
            return self.student
        path = Path(self.student).expanduser()
        return (
            path.as_posix()
            if path.is_absolute()
            else Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
        )


def _stem(config: str) -> str:
    return Path(config.rpartition('::')[-1]).stem
