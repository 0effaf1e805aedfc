from argparse import Namespace

import pytest
from mmengine.config import Config

from mmkd.cli import flags, mixed_precision
from mmkd.errors import UserError


@pytest.fixture
def parse():
    return lambda *args: flags.common_parser('').parse_args(['configs/net_digits.py', *args])


def training(**changes) -> Namespace:
    return Namespace(
        **{**dict(no_validate=False, amp=False, amp_dtype=None, auto_scale_lr=False, resume=None), **changes}
    )


def test_work_dir_flag_then_config_then_name(parse):
    for args, own, expected in ((['--work-dir', 'a'], 'b', 'a'), ([], 'b', 'b'), ([], None, 'work_dirs/net_digits')):
        cfg = Config(dict(work_dir=own))
        flags.apply_common(cfg, parse(*args))
        assert cfg.work_dir == expected


@pytest.mark.parametrize(('args', 'own'), [(['--work-dir', '~/runs/a'], 'b'), ([], '~/runs/a')])
def test_a_tilde_in_the_work_dir_is_the_home_folder(parse, monkeypatch, args, own):
    monkeypatch.setenv('HOME', '/home/ann')
    cfg = Config(dict(work_dir=own))
    flags.apply_common(cfg, parse(*args))
    assert cfg.work_dir == '/home/ann/runs/a'


def test_work_dir_of_a_package_path():
    cfg = Config(dict())
    flags.apply_common(cfg, flags.common_parser('').parse_args(['mmkd::baselines/x.py']))
    assert cfg.work_dir == 'work_dirs/x'


def test_cfg_options(parse):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(lr=1))))
    flags.apply_common(cfg, parse('--cfg-options', 'optim_wrapper.optimizer.lr=0.1', 'new.key=[1,2]'))
    assert cfg.optim_wrapper.optimizer.lr == 0.1
    assert cfg.new.key == [1, 2]


def test_cfg_options_that_do_not_fit(parse):
    with pytest.raises(UserError, match=r'--cfg-options: list\.5\.x does not fit'):
        flags.apply_common(Config(dict(list=[dict(x=1)])), parse('--cfg-options', 'list.5.x=1'))


def test_mmpretrain_loaders_get_what_its_own_tools_give(parse):
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            train_dataloader=dict(num_workers=2),
            unlabelled_dataloader=dict(num_workers=3),
            val_dataloader=dict(num_workers=0, collate_fn=dict(type='pseudo_collate')),
        )
    )
    flags.apply_common(cfg, parse())
    assert cfg.train_dataloader.persistent_workers is True
    assert cfg.train_dataloader.collate_fn.type == 'default_collate'
    assert cfg.unlabelled_dataloader.collate_fn.type == 'default_collate'
    assert cfg.val_dataloader.persistent_workers is False
    assert cfg.val_dataloader.collate_fn.type == 'pseudo_collate'


def test_what_is_on_the_device_is_not_pinned(parse, monkeypatch):
    monkeypatch.setattr(flags, 'get_device', lambda: 'cuda')
    kinds = dict(train_dataloader='mmkd.ResidentArrayDataset', val_dataloader='mmkd.ArrayDataset')
    cfg = Config(
        dict(default_scope='mmpretrain', **{key: dict(dataset=dict(type=kind)) for key, kind in kinds.items()})
    )
    flags.apply_common(cfg, parse())
    assert cfg.train_dataloader.pin_memory is False
    assert cfg.val_dataloader.pin_memory is True


def test_mmdet_loaders_are_left_alone(parse):
    cfg = Config(dict(default_scope='mmdet', train_dataloader=dict(num_workers=2)))
    flags.apply_common(cfg, parse())
    assert cfg.train_dataloader == dict(num_workers=2)


def test_no_validate():
    cfg = Config(dict(val_cfg=dict(), val_dataloader=dict(), val_evaluator=dict()))
    flags.apply_training(cfg, training(no_validate=True))
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        (dict(amp=True), dict(loss_scale='dynamic')),
        (dict(amp_dtype='float16'), dict(dtype='float16', loss_scale='dynamic')),
        (dict(amp=True, amp_dtype='bfloat16'), dict(dtype='bfloat16', loss_scale=dict(enabled=False))),
        (dict(), dict()),
    ],
)
def test_mixed_precision(changes, expected, monkeypatch):
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cuda')
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    flags.apply_training(cfg, training(**changes))
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper' if expected else 'OptimWrapper', **expected)


def test_auto_scale_lr():
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=256)))
    flags.apply_training(cfg, training(auto_scale_lr=True))
    assert cfg.auto_scale_lr.enable
    for lacking in (dict(), dict(auto_scale_lr=None)):
        with pytest.raises(UserError, match=r'auto_scale_lr\.base_batch_size'):
            flags.apply_training(Config(lacking), training(auto_scale_lr=True))


@pytest.mark.parametrize(('resume', 'load_from'), [('auto', None), ('x.pth', 'x.pth')])
def test_resume(resume, load_from, tmp_path):
    (tmp_path / 'epoch_1.pth').touch()
    cfg = Config(dict(load_from='pretrained.pth', work_dir=str(tmp_path)))
    flags.apply_training(cfg, training(resume=resume))
    assert cfg.resume is True
    assert cfg.load_from == load_from


@pytest.mark.parametrize('hooks', [dict(), dict(default_hooks=None), dict(default_hooks=dict(checkpoint=None))])
def test_resume_with_nothing_to_resume_starts_from_what_the_config_says(tmp_path, hooks):
    cfg = Config(dict(load_from='pretrained.pth', work_dir=str(tmp_path), **hooks))
    flags.apply_training(cfg, training(resume='auto'))
    assert not cfg.get('resume')
    assert cfg.load_from == 'pretrained.pth'


@pytest.mark.parametrize(
    ('count', 'resume', 'expected'),
    [('1', None, (True, None)), ('0', None, (False, 'pre.pth')), ('1', 'x.pth', (True, 'x.pth'))],
)
def test_a_job_that_slurm_restarted_resumes(tmp_path, monkeypatch, count, resume, expected):
    monkeypatch.setenv('SLURM_RESTART_COUNT', count)
    (tmp_path / 'epoch_1.pth').touch()
    cfg = Config(dict(load_from='pre.pth', work_dir=str(tmp_path)))
    flags.apply_training(cfg, training(resume=resume))
    assert (bool(cfg.get('resume')), cfg.load_from) == expected


def evaluation(**changes) -> Namespace:
    return Namespace(**{**dict(checkpoint='x.pth', out=None, show_dir=None, tta=False), **changes})


def test_out_adds_a_metric():
    cfg = Config(dict(model=dict(), test_evaluator=dict(type='Accuracy')))
    flags.apply_testing(cfg, evaluation(out='p.pkl'))
    assert [metric.type for metric in cfg.test_evaluator] == ['Accuracy', 'DumpResults']
    with pytest.raises(UserError, match=r'must end with \.pkl'):
        flags.apply_testing(cfg, evaluation(out='p.json'))


@pytest.mark.parametrize(
    ('scope', 'expected'),
    [('mmpretrain', dict(enable=True, out_dir='d')), ('mmdet', dict(draw=True, test_out_dir='d'))],
)
def test_show_dir(scope, expected):
    cfg = Config(dict(model=dict(), default_scope=scope, default_hooks=dict(visualization=dict())))
    flags.apply_testing(cfg, evaluation(show_dir='d'))
    assert cfg.default_hooks.visualization == expected
    for lacking in (dict(), dict(default_hooks=None)):
        with pytest.raises(UserError, match='visualization'):
            flags.apply_testing(Config(dict(model=dict(), **lacking)), evaluation(show_dir='d'))


@pytest.mark.parametrize('wrapped', [False, True])
def test_tta(wrapped):
    dataset = dict(pipeline=[])
    cfg = Config(
        dict(
            model=dict(type='Net'),
            tta_model=dict(type='TTA'),
            tta_pipeline=[1],
            test_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dataset) if wrapped else dataset),
        )
    )
    flags.apply_testing(cfg, evaluation(tta=True))
    assert cfg.model == dict(type='TTA', module=dict(type='Net'))
    loaded = cfg.test_dataloader.dataset
    assert (loaded.pop('dataset') if wrapped else loaded) == dict(pipeline=[1])
    assert loaded == (dict(type='RepeatDataset') if wrapped else dict(pipeline=[1]))
    with pytest.raises(UserError, match='tta_model'):
        flags.apply_testing(Config(dict(model=dict())), evaluation(tta=True))


def test_a_distillers_checkpoint_is_tested_as_the_plain_student():
    hooks = dict(stages=dict(type='mmkd.StageScheduleHook'), timer=dict(type='IterTimerHook'))
    cfg = Config(dict(model=dict(type='mmkd.SSKD', student=dict(type='Net'), teacher=dict()), default_hooks=hooks))
    flags.apply_testing(cfg, evaluation())
    assert cfg.model == dict(type='Net')
    assert list(cfg.default_hooks) == ['timer']


def test_a_student_is_tested_where_the_config_has_no_default_hooks():
    cfg = Config(dict(model=dict(student=dict(type='Net')), default_hooks=None))
    flags.apply_testing(cfg, evaluation())
    assert cfg.model == dict(type='Net')


def test_options_of_the_schedule_without_its_type_are_left_out_too():
    cfg = Config(dict(model=dict(student=dict(type='Net')), default_hooks=dict(stages=dict(keep_best=True))))
    flags.apply_testing(cfg, evaluation())
    assert cfg.default_hooks == dict()


def test_a_restart_count_that_is_no_number(monkeypatch):
    monkeypatch.setenv('SLURM_RESTART_COUNT', 'abc')
    with pytest.raises(UserError, match=r"SLURM_RESTART_COUNT: .* must be a whole number, not 'abc'"):
        flags.apply_training(Config(dict(optim_wrapper=dict())), training())
