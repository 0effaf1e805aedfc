"""The fenced blocks of README and docs."""

import re
from dataclasses import dataclass

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md')),
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'configs').glob('*/README.md')),
]
FENCE = re.compile(r'^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^ *```', re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r'From\s`([\w/.-]+)`:\s*\Z')
IN_PYTHON = re.compile(r'^\w+ = dict\(', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: Relative to the repository.
        line: Of the page, where it begins.
        language: As the fence names it.
        text: What is in it, without the page's indentation.
        quoted: The file that the sentence before it says it is from.
    """

    page: str
    line: int
    language: str
    text: str
    quoted: str | None

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def is_python(self) -> bool:
        """Whether it is Python, under that or another name."""
        return self.language == 'python' or (self.language == 'text' and bool(IN_PYTHON.search(self.text)))

    @property
    def is_shell(self) -> bool:
        """Whether it is commands."""
        return self.language in ('shell', 'bash', 'sh', 'console')


def blocks_of(page: str, text: str) -> list[Block]:
    """The blocks of a page."""
    found = []
    for match in FENCE.finditer(text):
        lines = [line.removeprefix(match['indent']) for line in match['text'].splitlines()]
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        before = text[: match.start()]
        source = QUOTED.search(before)
        quoted = source[1] if source else None
        lines = lines if quoted else [line[indent:] for line in lines]  # a quote keeps its own
        found.append(Block(page, before.count('\n') + 1, match['language'], '\n'.join(lines) + '\n', quoted))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(str(page.relative_to(ROOT)), page.read_text())]
