"""FitNet in its two phases, on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

The hint alone for 30 epochs, then labels and soft targets in equal parts at a temperature of 1, as torchdistill has it.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    pairs=[('layer2', 'layer2'), ('layer3', 'layer3')],
    stage_losses=dict(layer2=dict(type='mmkd.FitNetLoss')),
    terms=dict(soft=dict(loss=dict(type='mmkd.SoftTargetLoss', tau=1.0), places='scores')))
default_hooks = dict(stages=dict(stages=['layer2', 'all'], lengths=[30, 210]))
