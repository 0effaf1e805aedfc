"""The student's own optimizer and schedulers, for one stage of a longer run."""

from collections.abc import Callable, Iterable

from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch import nn


def build_stage_optim_wrapper(student: nn.Module, extras: Iterable[nn.Parameter], cfg: dict) -> OptimWrapper:
    """The optimizer wrapper of the student's config, built on the student itself, with the extras as one more group.

    Built on the student, parameter names are those that the config's author knew; layer-wise decay and custom keys
    depend on them. The extras are clipped apart, so that they do not change the student's gradients. Old gradients are
    dropped: the optimizer would step with those of what is frozen now.
    """
    student.zero_grad()
    wrapper = build_optim_wrapper(student, cfg)
    extras = list(extras)
    if extras:
        wrapper.optimizer.add_param_group(dict(params=extras))
        if wrapper.clip_grad_kwargs:
            wrapper.clip_func = _clip_apart(wrapper.clip_func, {id(parameter) for parameter in extras})
    if wrapper.clip_grad_kwargs:
        wrapper.clip_func = _clip_and_tell(wrapper.clip_func, wrapper.message_hub, f'train/{wrapper.grad_name}')
    return wrapper


def _clip_apart(clip: Callable, extras: set[int]) -> Callable:
    def clip_both(parameters: list, **kwargs):
        theirs = [parameter for parameter in parameters if id(parameter) in extras]
        students = [parameter for parameter in parameters if id(parameter) not in extras]
        if theirs:
            clip(theirs, **kwargs)
        return clip(students, **kwargs) if students else None  # clip_grad_value_ fails on an empty list

    return clip_both


def _clip_and_tell(clip: Callable, hub: MessageHub, key: str) -> Callable:
    """Log the norm as a tensor, since mmengine would synchronise with the device in each iteration."""

    def clip_and_tell(parameters: list, **kwargs) -> None:
        norm = clip(parameters, **kwargs)
        if norm is not None:  # clip_grad_value_ has no norm
            hub.update_scalar(key, norm)

    return clip_and_tell


class CompressedSchedule(_ParamScheduler):
    """Schedulers whose common clock runs faster, so that a stage sees the whole policy of a longer run.

    After its step ``i`` of ``length`` they have made ``floor((i + 1) * total / length)`` steps of the plain run, in its
    order, since their effects need not commute. With ``length == total`` it is the plain run.

    Args:
        schedulers (list): Built for the whole budget. The clock counts epochs if all of them do, else iterations.
        total (dict): Epochs (key True) and iterations (key False) of the whole budget.
        length (dict): The same of the stage; without epochs if it is no whole number of them.
    """

    def __init__(self, schedulers: list[_ParamScheduler], total: dict[bool, int], length: dict[bool, int]):
        # the last iteration of an epoch comes before the epoch's end
        self.schedulers = sorted(schedulers, key=lambda scheduler: scheduler.by_epoch)
        self.by_epoch = True in length and all(scheduler.by_epoch for scheduler in schedulers)
        self.total, self.length = total[self.by_epoch], length[self.by_epoch]
        self.epoch_length = self.total // total[True]
        self.done = 0

    def step(self) -> None:
        """Make one step of the stage."""
        for count in range(self.done * self.total // self.length, (self.done + 1) * self.total // self.length):
            epoch_ends = (count + 1) % self.epoch_length == 0
            for scheduler in self.schedulers:
                if epoch_ends or not scheduler.by_epoch:
                    scheduler.step()
        self.done += 1

    def state_dict(self) -> dict:
        """The schedulers' states and the stage's own clock."""
        return dict(done=self.done, schedulers=[scheduler.state_dict() for scheduler in self.schedulers])

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore the states."""
        self.done = state_dict['done']
        for scheduler, state in zip(self.schedulers, state_dict['schedulers']):
            scheduler.load_state_dict(state)


def compress(schedulers: list[_ParamScheduler], total: dict[bool, int], length: dict[bool, int]) -> list:
    """Make schedulers of the whole budget run within a stage.

    Args:
        schedulers (list): Built for the whole budget. Those that depend on validation metrics are unchanged.
        total (dict): Epochs (key True) and iterations (key False) of the whole budget.
        length (dict): The same of the stage.
    """
    waiting = [scheduler for scheduler in schedulers if getattr(scheduler, 'need_val_args', False)]
    rest = [scheduler for scheduler in schedulers if scheduler not in waiting]
    return ([CompressedSchedule(rest, total, length)] if rest else []) + waiting
