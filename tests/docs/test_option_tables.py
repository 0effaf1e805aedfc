"""The methods' pages have one shape, and their tables of options say what the classes take."""

import ast
import inspect
import re
from dataclasses import dataclass

import pytest

from mmkd.distillers.base import Distiller
from mmkd.distillers.feature_kd import FeatureKD
from mmkd.distillers.kd import KD
from mmkd.distillers.mhkd import MHKD
from mmkd.distillers.sskd import SSKD
from mmkd.feature_cache.hook import FeatureCacheHook
from mmkd.heads.classification import AuxiliaryHead
from mmkd.losses.class_scores import ClassScoreLoss
from mmkd.losses.feature_mimic import FeatureMimicLoss
from mmkd.losses.soft_target import SoftTargetLoss
from mmkd.objectives.term_options import TermOptions
from mmkd.schedule.hook import StageScheduleHook
from mmkd.tasks.classification import Classification
from mmkd.tasks.detection import Detection
from mmkd.utils.signatures import parameters_of
from tests.conftest import ROOT

SHAPE = ['The idea', 'Config', 'Results', 'When not to use it', 'Options']


@dataclass(frozen=True)
class Table:
    """The table below a heading of a page.

    Args:
        page: Of docs.
        heading: Without its marks.
        kind: The class whose options it has.
        beside: What the table leaves out, since mmkd fills it in or another table has it.
    """

    page: str
    heading: str
    kind: type
    beside: tuple[str, ...] = ()


COMMON = ('channels_last', 'compile', 'data_preprocessor', 'frozen_dtype', 'cuda_graph')
TABLES = [
    Table('sskd', '`mmkd.SSKD`', SSKD),
    Table('sskd', 'Options of every method', Distiller, ('student', 'teacher', 'data_preprocessor')),
    Table('sskd', '`mmkd.FeatureMimicLoss`', FeatureMimicLoss),
    Table('sskd', '`mmkd.StageScheduleHook`', StageScheduleHook),
    Table('sskd', 'Features kept for the head', FeatureCacheHook),
    Table('mhkd', '`mmkd.MHKD`', MHKD, ('places', 'feature_loss')),  # which it refuses
    Table('mhkd', '`mmkd.KD`', KD),
    Table('mhkd', '`mmkd.AuxiliaryHead`', AuxiliaryHead, ('in_channels', 'num_classes', 'layout')),
    Table('mhkd', '`mmkd.SoftTargetLoss`', SoftTargetLoss),
    Table('mhkd', '`mmkd.ClassScoreLoss`', ClassScoreLoss),
    Table('feature_kd', '`mmkd.FeatureKD`', FeatureKD),
    Table('feature_kd', 'Terms', TermOptions),
]


def text_of(page: str) -> str:
    return (ROOT / 'docs' / f'{page}.md').read_text()


def shown(text: str, heading: str) -> dict[str, str]:
    """The first table below a heading: the default of each name."""
    _, found, below = text.partition(f'# {heading}\n')
    assert found, f'no heading {heading}'
    table = re.search(r'(?:^\|.*\n)+', re.split(r'^#+ ', below, flags=re.MULTILINE)[0], re.MULTILINE)
    assert table, f'no table below {heading}'
    rows = [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:3]] for line in table[0].splitlines()[2:]]
    return {name: default for names, default in rows for name in re.findall(r'`(\w+)`', names)}


def described(kind: type) -> dict[str, str]:
    """What the docstring says of each argument."""
    found = {}
    for base in reversed(kind.__mro__):
        args = (inspect.getdoc(base) or '').partition('Args:\n')[2].split('\n\n')[0]
        for entry in re.split(r'^    (?=\S)', args, flags=re.MULTILINE)[1:]:
            names, _, text = entry.partition(':')
            found |= dict.fromkeys(re.findall(r'\w+', re.sub(r'\(.*', '', names)), text)
    for name, text in found.items():
        if 'As in :class:`SSKD`' in text:
            found[name] = described(SSKD)[name]
    return found


def values(text: str) -> set[str]:
    """The numbers and the code in a text."""
    return {*re.findall(r'(?<![\w.])\d+(?:\.\d+)?', re.sub('`[^`]*`', '', text)), *re.findall('`+([^`]+)`+', text)}


def differences(table: Table, text: str) -> list[str]:
    """What a table says otherwise than the class."""
    found, taken, said = shown(text, table.heading), parameters_beside(table), described(table.kind)
    wrong = [f'{name} is missing' for name in taken if name not in found]
    wrong += [f'{name} is no option' for name in found if name not in taken]
    for name in taken.keys() & found.keys():
        default, cell = taken[name].default, found[name]
        if default is inspect.Parameter.empty:
            fits = cell == 'needed'
        elif default is None or not isinstance(default, bool | int | float | str | dict):
            fits = values(cell) <= values(said[name])  # a word, or what the docstring says
        else:
            fits = is_literal(cell, default)
        if not fits:
            wrong.append(f'{name}: {cell!r}, where the class has {default!r}')
    return sorted(wrong)


def parameters_beside(table: Table) -> dict[str, inspect.Parameter]:
    beside = {*table.beside, *(COMMON if table.kind is not Distiller and issubclass(table.kind, Distiller) else ())}
    return {name: one for name, one in parameters_of(table.kind).items() if name not in beside}


def is_literal(cell: str, default: object) -> bool:
    try:
        return repr(ast.literal_eval(cell.strip('`'))) == repr(default)
    except (ValueError, SyntaxError):
        return False


@pytest.mark.parametrize('table', TABLES, ids=lambda table: f'{table.page}-{table.kind.__name__}')
def test_a_table_says_what_the_class_takes(table):
    assert differences(table, text_of(table.page)) == []


def test_a_table_that_errs_is_found():
    table = Table('sskd', '`mmkd.SoftTargetLoss`', SoftTargetLoss)
    head = '### `mmkd.SoftTargetLoss`\n\n| Key | Default | Meaning |\n|---|---|---|\n'
    rows = '| `tau` | 3.0 | |\n| `loss_weight` | 1.0 | |\n| `temperature` | 1.0 | |\n'
    assert differences(table, f'{head}{rows}\n## Next\n\n| `standardise` | False | |\n') == [
        'standardise is missing',
        "tau: '3.0', where the class has 4.0",
        'temperature is no option',
    ]
    other = Table('sskd', '`mmkd.KD`', KD)
    rows = '| `student`, `teacher` | needed | |\n| `soft_loss`, `gamma` | none | |\n| `alpha` | 0.7 | |\n'
    assert differences(other, head.replace('SoftTargetLoss', 'KD') + rows) == ["alpha: '0.7', where the class has None"]


def test_defaults_of_classifiers_and_detectors_are_those_of_their_tasks():
    found = shown(text_of('mhkd'), '`mmkd.MHKD`')
    for name in ('gamma', 'alpha', 'ce_share'):
        numbers = [float(number) for number in re.findall(r'\d+\.\d+', found[name])]
        assert numbers == [getattr(Classification, name), getattr(Detection, name)], name


@pytest.mark.parametrize('page', ['sskd', 'feature_kd', 'mhkd'])
def test_methods_pages_have_one_shape(page):
    assert re.findall(r'^## (.*)$', text_of(page), re.MULTILINE)[: len(SHAPE)] == SHAPE
