"""The demo's student in the lazy (pure Python) style: the same network, data and schedule as resnet18-w16_digits.py."""
from mmcv.transforms import Resize
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import CosineAnnealingLR
from mmpretrain.datasets import PackInputs, RandomCrop
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import CrossEntropyLoss, GlobalAveragePooling, ImageClassifier, LinearClsHead, ResNet_CIFAR
from torch.optim import SGD

from mmkd.datasets import Digits

default_scope = 'mmpretrain'
data_preprocessor = dict(num_classes=10, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(
        type=Digits,
        split='train',
        pipeline=[
            dict(type=Resize, scale=16),
            dict(type=RandomCrop, crop_size=16, padding=2),
            dict(type=PackInputs),
        ]),
    sampler=dict(type=DefaultSampler, shuffle=True))
val_dataloader = dict(
    batch_size=180,
    num_workers=0,
    dataset=dict(type=Digits, split='test', pipeline=[dict(type=Resize, scale=16), dict(type=PackInputs)]),
    sampler=dict(type=DefaultSampler, shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type=Accuracy, topk=(1, ))
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type=CosineAnnealingLR, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)

model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet_CIFAR, depth=18, stem_channels=16, base_channels=16),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=10, in_channels=128, loss=dict(type=CrossEntropyLoss)))
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=10),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, interval=1, max_keep_ckpts=1, save_best='auto'),
    sampler_seed=dict(type=DistSamplerSeedHook))
randomness = dict(seed=0)
