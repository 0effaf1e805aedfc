"""Trains or distils a model."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from mmengine.runner import Runner
from torch import nn

from mmkd.cli import checks, data_checks, flags
from mmkd.cli.default_hooks import add_backends, add_safe_hooks, add_schedule
from mmkd.cli.launch import is_first_process, prepare_launch
from mmkd.cli.running import build_runner, explained
from mmkd.cli.short_log import ShortLog, only_warnings_on_the_console
from mmkd.cli.whole_numbers import WholeNumber
from mmkd.compat.cpu_nodes import prepare_cpu_node
from mmkd.teacher.checkpoint import Whose, check_start
from mmkd.utils.configs import load_config
from mmkd.utils.locks import hold
from mmkd.utils.wrapped_models import unwrapped


def main() -> None:
    """Train with these command-line arguments."""
    with prepared(parse()) as runner:
        runner.train()


@contextmanager
def prepared(args: Namespace) -> Iterator[Runner]:
    """The Runner of a training that passed all checks; inside the block, its errors become one sentence."""
    prepare_launch(args.launcher, args.local_rank)
    cfg = load_config(args.config)
    flags.apply_common(cfg, args)
    checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')
    flags.apply_training(cfg, args)
    add_schedule(cfg)
    add_safe_hooks(cfg)
    checks.check_training(cfg)
    add_backends(cfg)
    flags.add_profile(cfg, args.profile)
    checks.check_work_dir(cfg.work_dir)
    if is_first_process(args.launcher):
        hold(cfg.work_dir, 'work_dir', 'wait for it or end it, or choose another folder with --work-dir')
    prepare_cpu_node(cfg)
    with explained(cfg, cfg, again='go on with --resume'):
        with only_warnings_on_the_console() if args.log == 'short' else nullcontext():
            runner = build_runner(cfg)
        if args.log == 'short':
            runner.register_hook(ShortLog())
        data_checks.check_images(runner, 'train', 'val')
        check_weights(runner)
        yield runner


def check_weights(runner: Runner) -> None:
    """Check that the weights that a training starts from fit what it trains; a distiller's are its student's."""
    model = unwrapped(runner.model)
    if runner._load_from is not None and not runner._resume and isinstance(model, nn.Module):  # FlexibleRunner: later
        check_start(model, runner._load_from, Whose('load_from', 'network to train', 'this config'))


def parse() -> Namespace:
    """Parse the command line."""
    parser = flags.common_parser('Train or distil a model.')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint, or from the last one in the work dir if none is named',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision in float16 (needs a GPU)')
    parser.add_argument(
        '--amp-dtype',
        choices=['float16', 'bfloat16'],
        help='automatic mixed precision in this type (bfloat16 needs no GPU)',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the real batch size')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--log',
        choices=['full', 'short'],
        default='full',
        help='on the console: all, or a line an epoch; the file in the work dir has all [full]',
    )
    parser.add_argument(
        '--profile',
        action=WholeNumber,
        of='iterations',
        metavar='N',
        help='tell where the time goes in N iterations of each stage, after 3 to warm up; the training goes on',
    )
    return parser.parse_args()
