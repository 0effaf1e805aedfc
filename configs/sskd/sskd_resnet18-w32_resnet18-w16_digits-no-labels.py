"""SSKD on the digits without a label: stages only, then the head from the teacher. Train the teacher first."""
_base_ = '../baselines/resnet18-w16_digits-5-labels.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet18-w32_digits.py',
        checkpoint='work_dirs/resnet18-w32_digits/epoch_10.pth'))
default_hooks = dict(stages=dict(stages=['layer1', 'layer2', 'layer3', 'layer4']))
train_dataloader = dict(batch_size=100, dataset=dict(per_class=None))
