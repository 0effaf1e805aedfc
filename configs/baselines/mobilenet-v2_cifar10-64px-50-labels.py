"""The teacher on CIFAR-10 at 64x64 pixels with 50 labels a class: MobileNetV2 with ImageNet weights."""
_base_ = './mobilenet-v2_cifar10-64px.py'
train_dataloader = dict(dataset=dict(per_class=(0, 50)))
train_cfg = dict(max_epochs=60, val_interval=20)
