"""What each class gains or loses by distillation, against the student alone."""

import copy
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS

from mmkd.reporting.html import Html, note, number, section, table, tag
from mmkd.reporting.networks import Images, Measured, predicts

MOST = 40  # classes in the table: those that gain and lose most
SIZES = {'mAP': 'all', 'mAP_50': 'IoU 0.5', 'mAP_75': 'IoU 0.75', 'mAP_s': 'small', 'mAP_m': 'medium', 'mAP_l': 'large'}


@dataclass
class ByClass:
    """The figure of each class, in percent, of one network."""

    name: str
    method: str
    figures: dict[str, float]


def per_class(networks: list[Measured], images: Images, cfg: Config) -> list[Html]:
    """A table of classes; for detectors one by size, too."""
    first = networks[0].results[0]
    if predicts(first, 'pred_label', 'gt_label') and len(first.gt_label) == 1:
        counts = _count([int(sample.gt_label[0]) for sample in networks[0].results], images)
        return [_section([_accuracies(one, images) for one in networks], counts, 'accuracy', images)]
    evaluator = cfg.get('val_evaluator')
    evaluators = evaluator if isinstance(evaluator, list) else [evaluator]
    coco = next((one for one in evaluators if isinstance(one, dict) and 'CocoMetric' in str(one.get('type'))), None)
    if coco is None or not predicts(first, 'pred_instances'):
        return []
    scores = [_evaluate(one, images, coco) for one in networks]
    shown = [ByClass(one.name, one.method, _classes_of(score, images)) for one, score in zip(networks, scores)]
    return [_sizes(networks, scores, images), _section(shown, {}, 'AP', images)]


def _count(labels: list[int], images: Images) -> dict[str, int]:
    return {_name(label, images): labels.count(label) for label in sorted(set(labels))}


def _name(label: int, images: Images) -> str:
    return images.classes[label] if label < len(images.classes) else f'class {label}'


def _accuracies(one: Measured, images: Images) -> ByClass:
    right: dict[int, list[bool]] = {}
    for sample in one.results:
        label = int(sample.gt_label[0])
        right.setdefault(label, []).append(int(sample.pred_label[0]) == label)
    figures = {_name(label, images): 100 * float(np.mean(right[label])) for label in sorted(right)}
    return ByClass(one.name, one.method, figures)


def _evaluate(one: Measured, images: Images, coco: dict) -> dict[str, float]:
    """The COCO metric of the images at hand alone."""
    metric = METRICS.build({**copy.deepcopy(coco), 'classwise': True, 'metric': 'bbox'})
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = images.metainfo
    metric.img_ids = [sample.img_id for sample in one.results]
    evaluator.process(data_samples=one.results, data_batch=None)
    return evaluator.evaluate(len(one.results))


def _classes_of(score: dict[str, float], images: Images) -> dict[str, float]:
    found = {name: score.get(f'coco/{name}_precision', float('nan')) for name in images.classes}
    if not score:  # it predicted no box at all
        return dict.fromkeys(images.classes, 0.0)
    return {name: 100 * value for name, value in found.items() if value == value}


def _sizes(networks: list[Measured], scores: list[dict[str, float]], images: Images) -> Html:
    keys = [key for key in SIZES if any(score.get(f'coco/bbox_{key}', -1) >= 0 for score in scores)]
    rows = [
        [one.name, *(number(100 * score.get(f'coco/bbox_{key}', 0.0)) for key in keys)]
        for one, score in zip(networks, scores)
    ]
    head = ['network', *(SIZES[key] for key in keys)]
    return section('sizes', 'AP by size', table(head, rows, id_='by-size'), _said(images))


def _section(shown: list[ByClass], counts: dict[str, int], figure: str, images: Images) -> Html:
    base = next((one for one in shown if one.method == 'alone'), None)
    distilled = [one for one in shown if one.method not in ('', 'alone')]
    names = list(dict.fromkeys(name for one in shown for name in one.figures))
    if base is not None and distilled:
        names.sort(key=lambda name: base.figures.get(name, 0) - distilled[0].figures.get(name, 0))
    left = len(names) - MOST
    if left > 0:
        names = [*names[: MOST // 2], *names[-MOST // 2 :]]
    gains = {
        (one.name, name): one.figures[name] - base.figures[name]
        for one in distilled
        if base is not None
        for name in names
        if name in one.figures and name in base.figures
    }
    most = max(map(abs, gains.values()), default=1.0) or 1.0
    plain = [one for one in shown if not gains or one not in distilled]
    rows = [
        [
            name,
            *([counts.get(name, 0)] if counts else []),
            *(number(one.figures.get(name)) for one in plain),
            *(_bar(gains.get((one.name, name)), most) for one in distilled if gains),
        ]
        for name in names
    ]
    head = ['class', *(['images'] if counts else []), *(one.name for one in plain)]
    head += [f'{one.name} against alone' for one in distilled] if gains else []
    return section(
        'classes',
        f'{figure[0].upper()}{figure[1:]} by class',
        table(head, rows, id_='by-class', class_='bars'),
        _said(images),
        note(f'{left} classes between those that gain and lose most are left out.') if left > 0 else '',
    )


def _said(images: Images) -> Html:
    return note(f'In percent, on {len(images.indices)} of {images.total} validation images.')


def _bar(gain: float | None, most: float) -> Html:
    """A bar to the right for a gain, to the left for a loss."""
    if gain is None:
        return Html()
    half = 50 * abs(gain) / most
    side = f'left:{50 if gain >= 0 else 50 - half:.1f}%;width:{half:.1f}%'
    bar = tag('div', Html(f'<i class="{"up" if gain >= 0 else "down"}" style="{side}"></i>'), class_='bar')
    return Html(f'<span class="gain-figure">{f"{gain:+.1f}" if gain else 0}</span>{bar}')
