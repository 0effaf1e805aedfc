"""Evaluates a checkpoint."""

import copy
from argparse import Namespace
from pathlib import Path

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmkd.checkpoints.atomic_files import check_folder
from mmkd.cli import checks, data_checks, flags
from mmkd.cli.class_checks import check_own_parts
from mmkd.cli.launch import prepare_launch
from mmkd.cli.runner_checks import check_groups, check_log_level
from mmkd.cli.running import build_runner, explained
from mmkd.compat.cpu_nodes import prepare_cpu_node
from mmkd.teacher.checkpoint import Whose, load_checked
from mmkd.utils.configs import load_config


def main() -> None:
    """Test with these command-line arguments."""
    args = _parse()
    prepare_launch(args.launcher, args.local_rank)
    cfg = load_config(args.config)
    flags.apply_common(cfg, args)
    checks.check_keys(cfg, checks.TESTING_KEYS, 'testing')
    written = copy.deepcopy(cfg)
    flags.apply_testing(cfg, args)
    checks.check_toolboxes(cfg)
    check_own_parts(written)
    check_log_level(cfg)
    check_groups(cfg)
    checks.check_checkpoint('checkpoint', args.checkpoint)
    data_checks.check_data(cfg, ('test_dataloader',))
    checks.check_work_dir(cfg.work_dir)
    _check_places(args)
    prepare_cpu_node(cfg)
    with explained(cfg, written):
        runner = build_runner(cfg)
        _check_weights(runner.model, args)
        data_checks.check_images(runner, 'test')
        runner.test()


def _check_places(args: Namespace) -> None:
    """Raise an error before the test if its predictions could not be written after it."""
    if args.out:
        check_folder('--out', Path(args.out).parent, 'name another file')
    if args.show_dir:
        check_folder('--show-dir', args.show_dir, 'name another folder')


def _check_weights(model: nn.Module, args: Namespace) -> None:
    """Raise an error if the file is damaged or of another network: mmengine would test what it was initialised with."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    unread = 'head' if hasattr(model, 'embedding') else None  # it knows the people of the training only
    parts = [name for name, _ in model.named_children() if name != unread]
    load_checked(model, args.checkpoint, parts, Whose('checkpoint', 'network', args.config))


def _parse() -> Namespace:
    parser = flags.common_parser('Evaluate a checkpoint.')
    parser.add_argument('checkpoint', help='a local file or a URL')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions to this file')
    parser.add_argument('--show-dir', help='draw predictions into this folder')
    parser.add_argument('--tta', action='store_true', help="test-time augmentation by the config's tta_model")
    return parser.parse_args()
