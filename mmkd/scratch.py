"""A student that starts from random weights must be able to learn all of them."""

from torch import nn

from mmkd.errors import UserError


def check_scratch(student: nn.Module) -> None:
    """Refuse a backbone without pretrained weights whose own config freezes some of them or their statistics."""
    backbone = student.get_submodule('backbone')
    inits = [init for module in (student, backbone) for init in _listed(getattr(module, 'init_cfg', None))]
    if any(init.get('type') == 'Pretrained' for init in inits):
        return
    stuck = []
    if getattr(backbone, 'norm_eval', False):
        stuck.append('norm_eval=False')
    if getattr(backbone, 'frozen_stages', -1) >= 0:
        stuck.append('frozen_stages=-1')
    if stuck:
        raise UserError(
            f'model.student.backbone: it has no pretrained weights, and its config keeps random ones or their batch '
            f'norm statistics as they are; set {" and ".join(stuck)}, or name its weights in init_cfg or load_from.'
        )


def _listed(init_cfg) -> list[dict]:
    return [] if init_cfg is None else [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg)
