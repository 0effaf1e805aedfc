"""Finds the stages of a network by one dry run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmkd.errors import UserError, did_you_mean
from mmkd.stages.trace import Call, dry_run

_COARSER = 1.5  # a resolution changes by at least this factor; convolutions without padding shrink a map by less


@dataclass(frozen=True)
class Stage:
    """A part of the forward pass that is trained as one.

    Args:
        name: For logs: the path of its last module without ``backbone.``.
        end: Path of the module whose output ends the stage, ``''`` for the head.
        call: Which call of that module within one forward ends the stage, counted from 1.
        shapes: Shapes of the feature's tensors without their batch dimension.
        stride: Side of the input over side of the feature's finest tensor, None for the head.
        grid: Rows and columns of that tensor; of ``L`` tokens the first ``L - rows * columns`` lie outside the image.
        parameters: Names of its parameters in the network.
        modules: Names of the modules that lie wholly inside.
        signed: Whether the feature has numbers below 0; after a ReLU it has none.
        normed: Whether its last layer is a norm, a frozen one, too; other layers without parameters do not count.
    """

    name: str
    end: str
    call: int
    shapes: tuple[tuple[int, ...], ...]
    stride: int | None
    grid: tuple[int, int] | None
    parameters: tuple[str, ...]
    modules: tuple[str, ...]
    signed: bool = True
    normed: bool = True


@dataclass(frozen=True)
class StagePlan:
    """The stages of one network: those that end in a feature, in order of the forward, and the head."""

    stages: tuple[Stage, ...]
    head: Stage

    def __iter__(self) -> Iterator[Stage]:
        return iter((*self.stages, self.head))


def plan_stages(network: nn.Module, inputs: Tensor, ends: Sequence[str] | None = None) -> StagePlan:
    """Find the stages of a network by running ``extract_feat`` once, in eval mode; the network is unchanged.

    A stage ends at the last feature of each resolution that the backbone passes through, at quarters of the depth
    where the resolution never changes; a neck with parameters is one stage more. A parameter belongs to the first
    stage whose feature depends on it, to the head if none does. A stage without parameters joins the one before.

    Args:
        network: A classifier of mmpretrain or a detector of mmdet.
        inputs: A batch as the network gets it in training, of the size it gets.
        ends: Paths of the modules that end the stages, with or without ``backbone.``, instead of those found.

    Raises:
        UserError: ``network`` has no stages, or ``ends`` do not fit it.
    """
    if not isinstance(getattr(network, 'backbone', None), nn.Module) or not hasattr(network, 'extract_feat'):
        raise UserError(
            f'{type(network).__name__} is neither a classifier nor a detector: it has no backbone to divide into '
            'stages.'
        )
    top, calls = dry_run(network, inputs)
    cuts = _default_ends(network, top) if ends is None else _named_ends(network, calls, ends)
    parameters, modules = _share_out(network, calls, cuts)
    while empty := set(range(len(cuts))) - set(parameters.values()):
        del cuts[max(min(empty) - 1, 0)]
        parameters, modules = _share_out(network, calls, cuts)

    def held(k: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        its_parameters, its_modules = ([name for name, its in of.items() if its == k] for of in (parameters, modules))
        return tuple(its_parameters), tuple(its_modules)

    stages = [
        Stage(
            cut.name.removeprefix('backbone.'),
            cut.name,
            cut.number,
            cut.shapes,
            round(cut.stride),
            cut.grid or (1, 1),
            *held(k),
            cut.signed,
            cut.normed,
        )
        for k, cut in enumerate(cuts)
    ]
    return StagePlan(tuple(stages), Stage('head', '', 0, (), None, None, *held(len(cuts))))


def _default_ends(network: nn.Module, top: list[Call]) -> list[Call]:
    """The last feature of each resolution of the backbone, and the neck's features."""
    weight = {name: sum(p.numel() for p in module.parameters()) for name, module in network.named_modules()}
    found = _features([call for call in top if f'{call.name}.'.startswith('backbone.')], network, weight)
    # A later, finer feature belongs to a side branch (HRNet) or follows the waist of an hourglass: no new resolution.
    strides = [min(later.stride for later in found[i:]) for i in range(len(found))]
    total = max((call.stride for call in found), default=0)
    found = [call for call, stride in zip(found, strides) if call.stride < _COARSER * stride]
    ends: list[Call] = []
    begin = 0.0
    for call in found:
        if not ends or call.stride >= _COARSER * begin:
            begin = call.stride
            ends.append(call)
        else:
            ends[-1] = call
    if round(total) >= 16:
        ends = [end for end in ends if round(end.stride) >= 4 or end is ends[-1]]  # the stem joins the first stage
    if len(ends) == 1:
        level = [call for call in found if call.stride * _COARSER > ends[0].stride]
        blocks = [call for call in level[1:] if weight[call.name] and call.children]
        cuts = {int(quarter * len(blocks) / 4 + 0.5) for quarter in (1, 2, 3)}
        ends = [block for i, block in enumerate(blocks[:-1], 1) if i in cuts] + ends
    neck = [call for call in top if call.name == 'neck' and weight[call.name]]
    while neck and not neck[-1].grid:
        neck = [call for call in neck[-1].children if weight[call.name] and call.sees()]
    return ends + neck[-1:]


def _features(calls: list[Call], network: nn.Module, weight: dict[str, int]) -> list[Call]:
    """The calls whose outputs are maps or tokens; a call that holds nearly all parameters is replaced by its parts."""
    found: list[Call] = []
    for call in calls:
        before = math.prod(found[-1].grid or ()) if found else 1
        emptied = call.grid == (1, 1) and before > 4 and not weight[call.name]
        if call.sees() and not (before > 1 and (call.pooled or emptied)):
            found.append(call)
    total = sum(weight[call.name] for call in found)
    for i, call in enumerate(found):
        chain = isinstance(network.get_submodule(call.name), nn.Sequential)
        inside = call.children if weight[call.name] >= (0.85 if chain else 1) * total > 0 else []
        if inside := _features(inside, network, weight):
            # The last module of a chain returns the chain's output; the chain's name is the better one.
            found[i : i + 1] = [*inside[:-1], call] if chain and inside[-1] is call.children[-1] else inside
            break
    return [call for call in found if call.grid]


def _named_ends(network: nn.Module, calls: list[Call], ends: Sequence[str]) -> list[Call]:
    """The last calls of the modules that the user names."""
    modules = dict(network.named_modules())
    last = {call.name: call for call in calls}
    found: list[Call] = []
    for end in ends:
        name = end if end in modules else f'backbone.{end}'
        if name not in modules:
            near = did_you_mean(end, [*last, *(called.removeprefix('backbone.') for called in last)])
            raise UserError(f'No stage can end at {end!r}: {type(network).__name__} has no such module.{near}')
        if name not in last:
            raise UserError(f'No stage can end at {end!r}: the module does not run in extract_feat.')
        if not last[name].shapes:
            raise UserError(f'No stage can end at {end!r}: the module puts out neither a map nor tokens nor vectors.')
        if last[name] in found:
            raise UserError(f'Only one stage can end at {end!r}: it is named twice.')
        if found and calls.index(last[name]) < calls.index(found[-1]):
            raise UserError(f'The stage ends are out of order: {end!r} runs before {found[-1].name!r}.')
        found.append(last[name])
    return found


def _share_out(network: nn.Module, calls: list[Call], cuts: list[Call]) -> tuple[dict[str, int], dict[str, int]]:
    """The stage of each parameter and each module, counted from 0, with the head last; a module in several has none."""
    head = len(cuts)
    used: dict[Tensor, int] = {}
    reached: dict[str, int] = {}
    seen: set[Any] = set()
    for k, cut in enumerate(cuts):
        waiting = list(cut.roots)
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                if hasattr(node, 'variable'):
                    used.setdefault(node.variable, k)
                waiting.extend(following for following, _ in node.next_functions)
        for call in calls[: calls.index(cut) + 1]:  # if no output has a gradient, the time of the call decides
            if call.nodes & seen or not call.nodes:
                reached.setdefault(call.name, k)
    for name, parameter in network.named_parameters():
        # In evaluation mode some modules use a copy without a gradient (LeViT's biases): there the module decides.
        used.setdefault(parameter, reached.get(name.rpartition('.')[0], head))
    own: dict[nn.Module, set[int]] = {}
    for name, module in network.named_modules():
        own[module] = {used[parameter] for parameter in module.parameters(recurse=False)}
        if name in reached and not any(True for _ in module.parameters()):
            own[module] = {reached[name]}
    stages: dict[str, int] = {}
    for name, module in network.named_modules():
        inside = set().union(*(own[part] for part in module.modules()))
        if len(inside) < 2:  # modules that hold nothing and never run belong to their parent's stage
            stages[name] = next(iter(inside), stages.get(name.rpartition('.')[0], head))
    return {name: used[parameter] for name, parameter in network.named_parameters()}, stages
