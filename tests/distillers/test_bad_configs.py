"""Broken configs: whatever value a key gets, the run works or stops at the start with one sentence."""

import copy
import math
import resource
import signal
import traceback
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmkd.cli import checks, data_checks, flags
from mmkd.cli.default_hooks import add_safe_hooks
from mmkd.cli.error_keys import naming_config_keys
from mmkd.errors import UserError, in_one_line
from tests.distil import FROZEN

LEFT_ALONE = ('test_dataloader', 'test_cfg', 'test_evaluator', 'visualizer', 'vis_backends', 'work_dir', 'launcher')
ENDLESSLY = ('stacked_convs',)  # a billion of them would be built one by one
ABSURD = [-1, 0, 10**9, 1e-30, 1.5, math.nan, math.inf, '', 'x', None, True, [], {}, [1], ('a', 'b'), dict(type='x')]
METHODS = {
    'SSKD': dict(
        mimic_loss=dict(type='mmkd.FeatureMimicLoss', kind='mse'),
        stage_losses=dict(layer1=dict(type='mmkd.FeatureMimicLoss', kind='l1')),
        pairs=[('layer1', 'layer1'), ('layer3', 'layer3')],
    ),
    'MHKD': dict(
        heads=dict(type='mmkd.AuxiliaryHead', width=8),
        attach=[0, 'layer2'],
        beta=0.5,
        head_weights=dict(layer1=0.5),
        soft_loss=dict(type='mmkd.SoftTargetLoss', tau=4.0),
    ),
    'KD': dict(gamma=0.5, alpha=0.5, soft_loss=dict(type='mmkd.SoftTargetLoss', tau=2.0)),
}
STAGES = {
    'SSKD': dict(stages=['layer1', 'layer3', 'head'], fractions=[0.25, 0.25, 0.5], overrides=dict(head=dict(lr=0.01))),
    'MHKD': dict(stages=['teacher_heads', 'all'], lengths=[1, 3]),
    'KD': {},
}


NUMBERS = count()


class Enough(Exception):
    """Raised when the run works."""


class Stop(Hook):
    """Stops a run after a few iterations, when it has passed the first stage and its validation."""

    priority = 100

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= 5:
            raise Enough


@pytest.fixture(scope='module')
def valid(plain, teacher) -> dict[str, dict]:
    """A config of each method, as tools/train.py gives it to the Runner."""
    configs = {}
    for method, options in METHODS.items():
        cfg = copy.deepcopy(plain)
        cfg.model = dict(type=f'mmkd.{method}', student=cfg.model, teacher=teacher, **copy.deepcopy(options))
        cfg.default_hooks.stages = {**FROZEN, **copy.deepcopy(STAGES[method])}
        cfg.merge_from_dict({'train_dataloader.batch_size': 32, 'train_cfg.max_epochs': 4, 'launcher': 'none'})
        configs[method] = cfg.to_dict()
    return configs


def run(config: dict, folder) -> None:
    """Do what tools/train.py does."""
    cfg = Config(config)
    flags.apply_common(cfg, Namespace(cfg_options=None, launcher='none', work_dir=str(folder)))
    checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')
    add_safe_hooks(cfg)
    checks.check_training(cfg)
    cfg.experiment_name = f'{folder.name}_{next(NUMBERS)}'
    with naming_config_keys(cfg):
        runner = Runner.from_cfg(cfg)
        data_checks.check_images(runner)
        runner.register_hook(Stop())
        runner.train()


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every key and index of a config, except those in tuples, which cannot be changed."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def is_ours(place: tuple) -> bool:
    return place[:2] == ('default_hooks', 'stages') or (place[0] == 'model' and place[1:2] != ('student',))


@st.composite
def mutations(draw, configs: dict[str, dict]) -> tuple[str, tuple, str, Any]:
    """A method, a place in its config (every second time one of mmkd's own), and the change to be made there."""
    method = draw(st.sampled_from(sorted(configs)))
    found = [place for place in places(configs[method]) if place[0] not in LEFT_ALONE and place[-1] not in ENDLESSLY]
    place = draw(st.sampled_from([p for p in found if is_ours(p)]) | st.sampled_from(found))
    what = draw(st.sampled_from(['drop', 'rename', 'retype', 'retype', 'retype']))
    return method, place, what, copy.deepcopy(draw(st.sampled_from(ABSURD)))


def mutate(config: dict, place: tuple, what: str, value: Any) -> dict:
    config = copy.deepcopy(config)
    node: Any = config
    for key in place[:-1]:
        node = node[key]
    if what == 'retype':
        node[place[-1]] = value
    else:
        old = node.pop(place[-1])
        if what == 'rename' and isinstance(node, dict):
            node[f'{place[-1]}_x'] = old
    return config


def names(message: str, place: tuple) -> bool:
    """Whether a message names the place, or a part of the config that contains it."""
    if 'NaN or infinite' in message:  # the number is valid but absurd, and the loss shows it
        return True
    keys = ['model', *place] if place[0] == 'data_preprocessor' else place  # the Runner moves it into the model
    keys = ['default_hooks', *place] if 'pairs' in place else keys  # pairs of stages: the message names the same stages
    return any(key in message for key in keys if isinstance(key, str))


def every_outcome(configs: dict[str, dict], folder, mutation) -> str:
    """The outcome of a mutation, 'works' or 'told'; any other error is a failure."""
    method, place, what, value = mutation
    try:
        run(mutate(configs[method], place, what, value), folder)
    except Enough:
        return 'works'
    except UserError as error:
        message = str(error)
        assert '\n' not in message
        assert names(message, place), message
        return 'told'
    return 'ended early'


class Hang(BaseException):
    """A run that takes too long."""


class Tally:
    """Counts and records outcomes; it continues after a failure, so that one run finds all of them."""

    def __init__(self, file):
        self.file = file
        self.outcomes = Counter()
        self.failed = {}

    def count(self, configs: dict[str, dict], folder, mutation) -> None:
        """Try a mutation for at most a minute."""
        signal.signal(signal.SIGALRM, hang)
        signal.alarm(60)
        try:
            outcome = every_outcome(configs, folder, mutation)
        except (Exception, Hang, SystemExit) as error:
            outcome = 'failed'
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.failed[repr(mutation)] = f'{in_one_line(error)} ({last.filename}:{last.lineno})'
        finally:
            signal.alarm(0)
            forget_runs()
        self.outcomes[outcome] += 1
        with self.file.open('a') as file:
            file.write(f'{outcome}: {mutation} {self.failed.get(repr(mutation), "")}\n')

    def __str__(self) -> str:
        lines = [f'{mutation}: {error}' for mutation, error in self.failed.items()]
        return '\n'.join([f'{self.outcomes.total()} mutations: {dict(self.outcomes)}', *lines])


def hang(*_):
    raise Hang('more than a minute')


def forget_runs() -> None:
    """Close the logs and drop the histories, which each run would keep in memory."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for kind in (MMLogger, MessageHub, Visualizer, *Visualizer.__subclasses__()):
        kind._instance_dict.clear()


ENDLESS = dict(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def test_a_valid_config_works(valid, tmp_path):
    for config in valid.values():
        with pytest.raises(Enough):
            run(config, tmp_path)


def test_a_mistake_is_told_in_one_sentence_or_does_no_harm(valid, tmp_path):
    tally = Tally(tmp_path / 'tally.txt')
    check = given(mutations(valid))(lambda mutation: tally.count(valid, tmp_path, mutation))
    settings(max_examples=40, derandomize=True, phases=[Phase.generate], **ENDLESS)(check)()
    assert not tally.failed, str(tally)


@pytest.mark.parametrize(
    ('method', 'place', 'what', 'value', 'said'),
    [
        ('KD', ('default_scope',), 'drop', None, 'model.student.type: mmengine has no ImageClass.* Set default_scope'),
        ('KD', ('default_scope',), 'retype', '', 'default_scope: it must be the name of a toolbox'),
        ('KD', ('model', 'student', 'backbone', 'stem_channels'), 'retype', 0, 'model.student: ImageClassifier cannot'),
        (
            'KD',
            ('model', 'student', 'head', 'loss'),
            'retype',
            [],
            'model.student: its own loss of the first training sample cannot be computed (TypeError',
        ),
        (
            'SSKD',
            ('model', 'student', 'head'),
            'retype',
            None,
            'model.student: its own loss of the first training sample cannot be computed (AttributeError',
        ),
        ('KD', ('optim_wrapper', 'optimizer', 'weight_decay'), 'retype', True, 'optim_wrapper.optimizer does not fit'),
        ('SSKD', ('model', 'teacher', 'config', 'model', 'neck'), 'drop', None, 'model.teacher: it cannot predict the'),
        ('KD', ('val_evaluator', 'topk'), 'retype', True, 'val_evaluator does not fit (TypeError'),
        ('MHKD', ('train_cfg', 'val_interval'), 'retype', [], 'train_cfg.val_interval: it must be a number of epochs'),
        (
            'SSKD',
            ('train_dataloader', 'num_workers'),
            'retype',
            1.5,
            'train_dataloader.num_workers: it must be a whole',
        ),
        ('KD', ('val_dataloader', 'persistent_workers'), 'retype', 'x', 'val_dataloader does not fit'),
    ],
)
def test_mistakes_that_were_not_told_once(valid, tmp_path, method, place, what, value, said):
    with pytest.raises(UserError, match=said.replace('(', r'\(')):
        run(mutate(valid[method], place, what, value), tmp_path)


@pytest.mark.long
def test_a_few_thousand_mistakes(valid, tmp_path, monkeypatch):
    a_few_thousand(valid, tmp_path, monkeypatch)


def a_few_thousand(valid: dict[str, dict], tmp_path, monkeypatch) -> None:
    """Each run tries other mistakes."""
    monkeypatch.chdir(tmp_path)  # a mutated folder may be a relative path
    tally = Tally(tmp_path / 'tally.txt')
    check = given(mutations(valid))(lambda mutation: tally.count(valid, tmp_path, mutation))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, before[1]))  # a mutation must not use all memory
    try:
        settings(max_examples=3000, phases=[Phase.generate], **ENDLESS)(check)()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    print(tally)
    assert not tally.failed, str(tally)
