"""The methods that arenas compare, as changes of one distillation config."""

import runpy
from collections.abc import Iterable, Mapping

from arena import ROOT, Row

STAGES = 'default_hooks.stages'
BFLOAT16: dict[str, object] = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
METHODS: dict[str, tuple[str, dict[str, object]]] = {  # key: title, and what it changes in a config
    'kd': ('KD', {'model.type': 'mmkd.KD'}),
    'mhkd': ('MHKD', {'model.type': 'mmkd.MHKD'}),
    'mhkd-own': ('MHKD with its default heads', {'model.type': 'mmkd.MHKD'}),
    'mhkd-wide': (
        'MHKD, heads 256 channels wide',
        {'model.type': 'mmkd.MHKD', 'model.heads.type': 'mmkd.AuxiliaryHead', 'model.heads.width': 256},
    ),
    'featurekd': ('FeatureKD', {'model.type': 'mmkd.FeatureKD'}),
    'sskd': ('**SSKD**', {'model.type': 'mmkd.SSKD'}),
    'paper': (
        "SSKD as the paper has it: the backbone frozen while the student's own head learns",
        {'model.type': 'mmkd.SSKD', f'{STAGES}.unfreeze_last': False, 'model.head_from_teacher': False},
    ),
    'less-soft': ('**SSKD with soft targets**, `alpha=0.3`', {'model.type': 'mmkd.SSKD', 'model.alpha': 0.3}),
    'soft': ('The same, `alpha=1.0`', {'model.type': 'mmkd.SSKD', 'model.alpha': 1.0}),
    'featurekd-soft': (
        'FeatureKD with soft targets',
        {
            'model.type': 'mmkd.FeatureKD',
            'model.weight': 2.0,
            'model.terms.soft.loss.type': 'mmkd.SoftTargetLoss',
            'model.terms.soft.places': 'scores',
        },
    ),
    'bfloat16': ('SSKD, what is frozen in bfloat16', {'model.type': 'mmkd.SSKD', 'model.frozen_dtype': 'bfloat16'}),
    'labels': ('SSKD, labels alone in the last phase (`weight=0`)', {'model.type': 'mmkd.SSKD', 'model.weight': 0}),
}

WITH_ALL_LABELS = 'kd', 'mhkd', 'featurekd', 'sskd', 'paper'
"""The methods of tables where every image has its label."""

WITH_FEW_LABELS = 'kd', 'mhkd', 'featurekd', 'featurekd-soft', 'sskd', 'less-soft', 'soft'
"""The methods of tables with few labels, as changes of KD's config."""

FEWER_WITH_FEW_LABELS = 'kd', 'mhkd', 'featurekd-soft', 'sskd', 'soft'
"""Those where a training is dear and the teacher had all labels; there SSKD's config has `alpha=1.0`."""


NARROW: dict[str, dict[str, object]] = {'mhkd': {'model.heads.type': 'mmkd.AuxiliaryHead', 'model.heads.width': 32}}
"""Changes of :func:`rows` where all of MHKD's heads are narrow, as in its config for the digits."""


def rows(
    config: str,
    keys: Iterable[str],
    options: Mapping[str, object] | None = None,
    changes: Mapping[str, Mapping[str, object]] | None = None,
    name: str = '{}',
    **more,
) -> list[Row]:
    """A row for each of these methods.

    Args:
        config: Of a distillation, without options of its own.
        keys: Of METHODS.
        options: What is changed in all rows besides.
        changes: What is changed in the row of a method besides.
        name: What the keys become, where an arena has a method several times.
        more: Of :class:`arena.Row`.
    """
    return [
        Row(
            name.format(key),
            METHODS[key][0],
            config,
            {**METHODS[key][1], **(options or {}), **(changes or {}).get(key, {})},
            **more,
        )
        for key in keys
    ]


def terms_of(config: str) -> dict[str, object]:
    """What a method's config for FeatureKD says, as options of another config: its loss, weights and places.

    Args:
        config: Below ``configs/`` and without ``.py``; it says no more than its terms.
    """
    said = runpy.run_path(str(ROOT / 'configs' / f'{config}.py'))['model']
    return {'model.type': 'mmkd.FeatureKD', **_flat('model', said)}


def _flat(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        return {key: value}
    return {inner: one for name, part in value.items() for inner, one in _flat(f'{key}.{name}', part).items()}
