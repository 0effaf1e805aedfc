"""Freezes all parts of a network except the stages that are being learned."""

from collections.abc import Collection, Sequence

from torch import nn

from mmkd.stages.plan import Stage


def freeze_all_but(network: nn.Module, stages: Sequence[Stage], trainable: Collection[str]) -> list[nn.Module]:
    """Let the parameters of these stages learn, and no others.

    Args:
        network: Contains the stages.
        stages: What learns.
        trainable: Names of the parameters that its own config lets learn.

    Returns:
        The modules that lie wholly outside of these stages, without those inside others.
    """
    learned = {name for stage in stages for name in stage.parameters}
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name in learned and name in trainable
    inside = {name for stage in stages for name in stage.modules}
    around = {name.rsplit('.', depth)[0] for name in inside for depth in range(1, name.count('.') + 1)} | {''}
    frozen = {name for name, _ in network.named_modules()} - inside - around
    return [network.get_submodule(name) for name in sorted(frozen) if name.rpartition('.')[0] not in frozen]
