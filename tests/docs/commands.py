"""The commands in the blocks of README and docs, as their programs get them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.snippets import BLOCKS, Block

STANDS_FOR = {  # what a reader puts in the place of a word in capitals
    'CONFIG': 'configs/baselines/resnet18-w16_digits.py',
    'STUDENT_CONFIG': 'configs/baselines/resnet18-w16_digits.py',
    'CHECKPOINT': 'my_student.pth',
    'KEY=VALUE': 'randomness.seed=1',
    'WORK_DIR': 'work_dirs/my_run',
    'DIR': 'my_folder',
    'WORD': 'digits',
    'PROCESSES': '2',
    'PARTITION': 'my_partition',
    'JOB': 'my_job',
    'JOB_NAME': 'my_job',
    'STEP': 'checks',
    'NAME': 'digits',
    'ROW': 'alone',
    'N': '1',
}
LAUNCHERS = ('python', 'srun', 'mpirun')
FLAGS = re.compile(r'\[(-- )?flags[^\]]*\]')
CHOICE = re.compile(r'(?<= )[\w-]+(?:\|[\w-]+)+')


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Args:
        block: Where it stands.
        words: It, with what stands for words in capitals.
    """

    block: Block
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f'{self.block.page}: {" ".join(self.words)}'

    @property
    def program(self) -> str:
        """What is started: ``mmkd train``, ``make demo``, ``tools/train.py``, ``git``."""
        if self.words[0] in LAUNCHERS:
            return next(word for word in self.words if word.startswith('tools/'))
        return ' '.join(self.words[:2]) if self.words[0] in ('mmkd', 'make') else self.words[0]

    @property
    def arguments(self) -> list[str]:
        """What the program gets."""
        last = self.program.rpartition(' ')[-1]
        return list(self.words[self.words.index(last) + 1 :])


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a block; of ``a|b`` each."""
    for line in block.text.replace('\\\n', ' ').splitlines():
        if line.startswith('#'):
            continue
        choice = CHOICE.search(line)
        for way in choice[0].split('|') if choice else ['']:
            text = line.replace(choice[0], way) if choice else line
            if text.startswith(('mmkd ', 'tools/', *LAUNCHERS)):  # a synopsis may have [brackets] and ...
                text = re.sub(r'[][]| \.\.\.', '', FLAGS.sub('', text))
            words = shlex.split(text, comments=True)
            while words:
                end = words.index('&&') if '&&' in words else len(words)
                yield Command(block, tuple(STANDS_FOR.get(word, word) for word in words[:end]))
                words = words[end + 1 :]


COMMANDS = [command for block in BLOCKS if block.is_shell for command in commands_of(block)]
