"""What an iteration of each method costs against the student alone, with the networks of its shipped config."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmark_page import Results
from iterations import training
from measuring import GPU, Ratio, alternate, in_turn, medians, processor_seconds
from mmkd_training import MmkdTraining
from pairs import PAIRS, Pair

from mmkd.utils.configs import load_config

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


def _as(pair: str, *patterns: str) -> dict[Path, Pair]:
    """Configs with the images of a pair; a method in two phases costs what it costs in one, and then nothing."""
    paths = [path for pattern in patterns for path in sorted(CONFIGS.glob(pattern)) if '-first_' not in path.name]
    return {path: replace(PAIRS[pair], config=str(path)) for path in paths}


CLASSIFIERS = _as(
    'resnet32x4 -> resnet8x4',
    'kd/kd*_resnet32x4_resnet8x4_cifar100.py',
    'feature_kd/*_resnet32x4_resnet8x4_cifar100.py',
)
DETECTORS = _as('RetinaNet R-101 -> R-50', 'feature_kd/*_r101_r50_fpn_1x_coco.py')


def measure(rounds: int, pairs: Mapping[Path, Pair]) -> Iterator[list[dict]]:
    """Each method in turn with the student alone, as its terms act after their warm-up."""
    for path, pair in pairs.items():
        model = load_config(str(path)).model.to_dict()
        kind = model.pop('type').removeprefix('mmkd.')
        for name in ('student', 'teacher'):
            model.pop(name)
        for term in model.get('terms', {}).values():
            for key in ('warm_up', 'until'):
                term.pop(key, None)
        batch = pair.batch[GPU]
        with training(pair, 'FeatureKD', batch, weight=0) as alone, training(pair, kind, batch, **model) as ours:
            alone.enter(alone.phases[-1])
            method, networks = _names(path)
            print(path.stem, flush=True)
            yield [dict(method=method, pair=networks, seconds=_seconds(ours, alone, rounds))]


def _names(path: Path) -> tuple[str, str]:
    """A config's method, and its networks."""
    method, *kind, teacher, student = path.stem.removesuffix('_fpn_1x_coco').removesuffix('_cifar100').split('_')
    return method, ' '.join([*kind, teacher, '->', student])


def _seconds(ours: MmkdTraining, alone: MmkdTraining, rounds: int) -> dict[str, list[float]]:
    ours.enter(ours.phases[0])
    steps = {'method': ours.step, 'student alone': alone.step}
    if GPU:
        found = alternate(steps, rounds)
    else:  # of the processor: what else the machine does takes none of it
        found = in_turn({name: processor_seconds(step) for name, step in steps.items()}, rounds)
    print(medians(found), flush=True)
    return found


def table(part: str) -> Callable[[Results], list[str]]:
    """Makes the table of a part, a line for each method; networks are named where they differ."""

    def lines(results: Results) -> list[str]:
        rows = results[part]
        keys = ('method', 'pair') if len({row['pair'] for row in rows}) > 1 else ('method',)
        head = ['| Method | Seconds of an iteration | Times the student alone |', '|---|---|---|']
        return [*head, *(f'| {", ".join(row[key] for key in keys)} | {_cost(row["seconds"])} |' for row in rows)]

    return lines


def _cost(seconds: dict[str, list[float]]) -> str:
    own, alone = seconds['method'], seconds['student alone']
    return f'{sorted(own)[len(own) // 2]:.2f} | {Ratio.of(own, alone)}'
