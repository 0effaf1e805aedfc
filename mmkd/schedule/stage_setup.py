"""Rebuilds the DDP wrapper, optimizer and schedulers at the start of a stage."""

import copy
from collections.abc import Sequence

from mmengine.config import ConfigDict
from mmengine.dist import all_reduce_params
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, in_one_line
from mmkd.schedule.process_states import learned_buffers
from mmkd.schedule.stage_optim import build_stage_optim_wrapper, compress

MAX_NORM = 10.0  # at which gradients of steep stages are clipped


def set_up(runner: Runner, distiller: Distiller, optimizer: dict, length: dict[bool, int]) -> str:
    """Build the DDP wrapper, the optimizer and the schedulers of the current stages; begin new averages of weights.

    Returns a sentence about what the config does not say, or ''.

    Args:
        runner: Its model, optimizer wrapper and schedulers are replaced.
        distiller: It has entered the stages.
        optimizer: Changes of the optimizer's config.
        length: Of the phase, in epochs (key True), if it has a whole number of them, and iterations (key False).
    """
    if is_model_wrapper(runner.model):
        runner.model = runner.wrap_model(copy.deepcopy(runner.cfg.get('model_wrapper_cfg')), distiller)
    runner.param_schedulers = None  # scale_lr needs this
    optim_cfg = copy.deepcopy(runner.cfg.optim_wrapper)
    optim_cfg.optimizer.update(optimizer)
    said = _clip(optim_cfg, distiller.steep)
    extras = [p for module in distiller.trained_extras() for p in module.parameters()]
    old = getattr(runner.optim_wrapper, 'loss_scaler', None)
    runner.optim_wrapper = build_stage_optim_wrapper(distiller.student, extras, optim_cfg)
    if old is not None:
        runner.optim_wrapper.loss_scaler.load_state_dict(old.state_dict())
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    if runner.cfg.get('param_scheduler') is not None:
        runner.param_schedulers = compress(
            runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler)),
            total={True: runner.max_epochs, False: runner.max_iters},
            length=length,
        )
    runner.optim_wrapper.initialize_count_status(runner.model, 0, length[False])
    restart_averages(runner, distiller)  # otherwise frozen weights would become averages
    for key in [key for key in runner.message_hub.log_scalars if key.startswith(('train/loss', 'train/grad_'))]:
        runner.message_hub.log_scalars.pop(key)  # otherwise every later log line would contain them
    return said


def _clip(optim_cfg: ConfigDict, steep: Sequence[str]) -> str:
    """Clip gradients for some stages unless the config says something of it; return a sentence about it, or ''."""
    if not steep or 'clip_grad' in optim_cfg:
        return ''
    optim_cfg.clip_grad = dict(max_norm=MAX_NORM)
    stages = f'{steep[0]} ends' if len(steep) == 1 else f'{", ".join(steep)} end'
    return (
        f' Gradients are clipped (optim_wrapper.clip_grad: max_norm={MAX_NORM:g}), since {stages} without a norm layer.'
    )


def restart_averages(runner: Runner, distiller: Distiller) -> None:
    """Begin averages of weights anew with the current student; frozen parameters and extras are not averaged."""
    student = distiller.student.state_dict()
    frozen = {name for name, parameter in distiller.student.named_parameters() if not parameter.requires_grad}
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            averages = hook.ema_model
            for name, value in averages.module.state_dict().items():
                value.copy_(student[name])
            averages.steps.zero_()  # the next update copies the student
            module = averages.module
            kept = module.state_dict() if averages.update_buffers else dict(module.named_parameters())
            averages.avg_parameters = {
                name: value
                for name, value in kept.items()
                if name.removeprefix('student.') not in frozen and not name.startswith('extras.')
            }


def check_optimizers(runner: Runner, distiller: Distiller, overrides: dict[str, dict]) -> None:
    """Build every stage's optimizer once before training, so failures show immediately."""
    for name, changes in overrides.items():
        cfg = copy.deepcopy(runner.cfg.optim_wrapper)
        cfg.optimizer.update(changes)
        try:
            build_stage_optim_wrapper(distiller.student, [], cfg)
        except Exception as error:  # an optimizer may raise anything
            raise UserError(
                f'default_hooks.stages.overrides.{name}: {changes} does not fit optim_wrapper.optimizer '
                f'({in_one_line(error)}).'
            ) from error


def average_buffers(distiller: Distiller) -> None:
    """DDP does not broadcast buffers: without this a learned stage's statistics would differ by rank for ever."""
    all_reduce_params(list(learned_buffers(distiller).values()), op='mean')
