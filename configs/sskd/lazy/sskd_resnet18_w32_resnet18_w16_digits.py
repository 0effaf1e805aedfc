"""SSKD on the digits in the lazy (pure Python) style: what sskd_resnet18-w32_resnet18-w16_digits.py does."""
from mmengine.config import read_base

with read_base():
    from ...baselines.lazy.resnet18_w16_digits import *

from mmkd.distillers import SSKD

model = dict(
    type=SSKD,
    student=model,
    teacher=dict(
        config='mmkd::baselines/resnet18-w32_digits.py',
        checkpoint='work_dirs/resnet18-w32_digits/epoch_10.pth'))
train_cfg.update(max_epochs=40)  # 5 for each of the four stages, 20 for the last phase
