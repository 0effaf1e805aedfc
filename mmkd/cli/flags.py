"""The command line's flags, the same for every toolbox, and how they change the config."""

from argparse import ArgumentParser, Namespace
from os.path import expanduser
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

from mmkd.checkpoints.resume import find_checkpoints
from mmkd.cli.cfg_options import KeyValues
from mmkd.cli.data_checks import is_resident
from mmkd.cli.default_hooks import is_schedule
from mmkd.cli.launch import number_in
from mmkd.cli.mixed_precision import choose_wrapper
from mmkd.errors import UserError


def common_parser(description: str) -> ArgumentParser:
    """The arguments that training and testing share."""
    parser = ArgumentParser(description=description)
    parser.add_argument('config', help='a config file, or package::path of an installed toolbox')
    parser.add_argument('--work-dir', help='folder for logs and results [work_dirs/<name of the config>]')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override config keys, e.g. optim_wrapper.optimizer.lr=0.1 or key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; "pytorch" for torchrun [none]',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='passed by old launchers; nothing to set by hand'
    )
    return parser


def apply_common(cfg: Config, args: Namespace) -> None:
    """Put the shared flags into the config; ``--cfg-options`` come first, so that flags win."""
    if args.cfg_options is not None:
        _merge_options(cfg, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = f'work_dirs/{Path(args.config.rpartition("::")[-1]).stem}'
    if isinstance(cfg.work_dir, str):
        cfg.work_dir = expanduser(cfg.work_dir)
    if cfg.get('default_scope') == 'mmpretrain':
        _fill_mmpretrain_loaders(cfg)


def apply_training(cfg: Config, args: Namespace) -> None:
    """Put the flags of training into the config."""
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp or args.amp_dtype:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        if args.amp_dtype:
            cfg.optim_wrapper.dtype = args.amp_dtype
    choose_wrapper(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError(
                '--auto-scale-lr: the config has no auto_scale_lr.base_batch_size; '
                'set it to the batch size that the learning rate was chosen for.'
            )
        cfg.auto_scale_lr.enable = True
    restarted = number_in('SLURM_RESTART_COUNT') > 0  # SLURM has requeued the job
    if args.resume == 'auto' or (args.resume is None and restarted):
        hook = _default_hooks(cfg).get('checkpoint') or {}
        if find_checkpoints(cfg.work_dir, hook.get('out_dir'), hook.get('filename_tmpl')):
            cfg.resume, cfg.load_from = True, None
        else:
            print_log(
                f'--resume: {cfg.work_dir} holds no checkpoint; the run starts from its beginning.', logger='current'
            )
    elif args.resume is not None:
        cfg.resume, cfg.load_from = True, args.resume


def add_profile(cfg: Config, iterations: int | None) -> None:
    """Add the profile hook if the flag is given."""
    if iterations is not None:
        for key, on in (('compile', cfg.get('compile')), ('model.compile', cfg.model.get('compile'))):
            if on not in (None, False):
                raise UserError(
                    f'--profile: {key} is on, and inside compiled code the parts cannot be timed separately; '
                    f'turn it off (--cfg-options {key}=False).'
                )
        cfg.default_hooks.profile = dict(type='mmkd.ProfileHook', iterations=iterations)


def apply_testing(cfg: Config, args: Namespace) -> None:
    """Put the flags of testing into the config."""
    cfg.load_from = args.checkpoint
    test_the_student(cfg)
    if args.out:
        if not args.out.endswith(('.pkl', '.pickle')):
            raise UserError(f'--out: the predictions are pickled, so {args.out} must end with .pkl.')
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=args.out)]
    if args.show_dir:
        if 'visualization' not in _default_hooks(cfg):
            raise UserError(
                '--show-dir: the config has no default_hooks.visualization; '
                'add the visualization hook of your toolbox there.'
            )
        is_mmpretrain = cfg.get('default_scope') == 'mmpretrain'  # the two toolboxes' hooks differ in these names
        cfg.default_hooks.visualization.update(
            dict(enable=True, out_dir=args.show_dir) if is_mmpretrain else dict(draw=True, test_out_dir=args.show_dir)
        )
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise UserError(
                '--tta: the config has no tta_model and tta_pipeline; define both, '
                'or test without test-time augmentation.'
            )
        dataset = cfg.test_dataloader.dataset
        while 'dataset' in dataset:  # inside a wrapper
            dataset = dataset.dataset
        dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(**cfg.tta_model, module=cfg.model)


def test_the_student(cfg: Config) -> None:
    """Replace a distiller by its student: the checkpoint is the plain student, and testing needs no teacher."""
    if 'student' in cfg.model:
        cfg.model = cfg.model.student
        for name, hook in list(_default_hooks(cfg).items()):
            if name == 'stages' or is_schedule(hook):  # these options need no type
                cfg.default_hooks.pop(name)


def _default_hooks(cfg: Config) -> dict:
    """Those of the config, which may be None; what is no dict is told later."""
    hooks = cfg.get('default_hooks')
    return hooks if isinstance(hooks, dict) else {}


def _merge_options(cfg: Config, options: dict) -> None:
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError, IndexError) as error:
        raise UserError(f'--cfg-options: {" ".join(options)} does not fit the config ({error}).') from error


def _fill_mmpretrain_loaders(cfg: Config) -> None:
    """Set the keys that mmpretrain's configs leave to mmpretrain's own tools."""
    for name in ('train_dataloader', 'unlabelled_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if isinstance(loader, dict):
            loader.setdefault('pin_memory', get_device() != 'cpu' and not is_resident(loader))
            loader.setdefault('persistent_workers', bool(loader.get('num_workers')))
            loader.setdefault('collate_fn', dict(type='default_collate'))
