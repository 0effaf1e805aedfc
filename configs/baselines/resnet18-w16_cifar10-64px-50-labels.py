"""The student on CIFAR-10 at 64x64 pixels with 50 labels a class; as many iterations as with all of them."""
_base_ = './resnet18-w16_cifar10-64px.py'
train_dataloader = dict(dataset=dict(per_class=(0, 50)))
train_cfg = dict(max_epochs=1500, val_interval=100)
