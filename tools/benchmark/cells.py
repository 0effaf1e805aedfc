"""One training of the grid: its folder, its config and its result."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from protocols import Protocol

ROOT = Path(__file__).resolve().parents[2]
WORK_DIR = Path('work_dirs/results')
METHODS = {  # the names in the report, and the configs
    'student': ('Student alone', 'baselines/{student}_cifar100.py'),
    'kd': ('KD', 'kd/kd_{pair}_cifar100.py'),
    'sskd': ('SSKD', 'sskd/sskd_{pair}_cifar100.py'),
    'sskd-unfrozen': ('SSKD, all unfrozen with the head', 'sskd/sskd_{pair}_cifar100.py'),
    'sskd-bfloat16': ('SSKD, what is frozen in bfloat16', 'sskd/sskd_{pair}_cifar100.py'),
    'mhkd': ('MHKD', 'mhkd/mhkd_{pair}_cifar100.py'),
    'sskd-mhkd': ('SSKD, then MHKD', 'mhkd/sskd-mhkd_{pair}_cifar100.py'),
}
VARIANTS: dict[str, dict[str, object]] = {  # what they change in the config
    'sskd-unfrozen': {'default_hooks.stages.unfreeze_last': True},
    'sskd-bfloat16': {'model.frozen_dtype': 'bfloat16'},
}


@dataclass(frozen=True)
class Cell:
    """A training. A teacher is a cell without a pair."""

    protocol: Protocol
    pair: str
    method: str
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Its work dir."""
        if self.method == 'teacher':
            return WORK_DIR / self.protocol.name / 'teachers' / self.pair
        return WORK_DIR / self.protocol.name / self.pair / self.method / f'seed{self.seed}'

    @property
    def config(self) -> Path:
        """Its shipped config."""
        if self.method == 'teacher':
            return Path(f'configs/baselines/{self.pair}_cifar100.py')
        return Path('configs') / METHODS[self.method][1].format(pair=self.pair, student=self.pair.split('_')[1])

    @property
    def epochs(self) -> int:
        """How long it trains."""
        return self.protocol.teacher_epochs if self.method == 'teacher' else self.protocol.epochs

    @property
    def teacher(self) -> 'Cell | None':
        """The training that must come first."""
        if self.method in ('teacher', 'student'):
            return None
        return Cell(self.protocol, self.pair.split('_')[0], 'teacher')

    @property
    def result(self) -> dict | None:
        """What came out; None if it is not finished."""
        return read_json(self.folder / 'result.json')

    def options(self) -> dict[str, object]:
        """What the protocol changes in the config."""
        options = self.protocol.options(self.epochs)
        options['randomness.seed'] = self.seed
        student = 'model.student' if self.teacher else 'model'
        options[f'{student}.head.num_classes'] = self.protocol.classes
        if self.teacher:  # mmengine has left the config that trained it, with its options, beside its checkpoint
            options['model.teacher.config'] = str(self.teacher.folder / self.teacher.config.name)
            options['model.teacher.checkpoint'] = str(self.teacher.folder / f'epoch_{self.teacher.epochs}.pth')
        options |= VARIANTS.get(self.method, {})
        if 'mhkd' in self.method and self.protocol.head_width:
            options['model.heads.type'] = 'mmkd.AuxiliaryHead'
            options['model.heads.width'] = self.protocol.head_width
        return options


def read_json(path: Path) -> dict | None:
    """The content of a file, None if there is none."""
    return json.loads(path.read_text()) if path.is_file() else None


def write_json(path: Path, content: dict) -> None:
    """Write a file that :func:`read_json` reads."""
    write_whole(path, json.dumps(content, indent=1) + '\n')


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically."""
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    part.write_text(text)
    os.replace(part, path)
