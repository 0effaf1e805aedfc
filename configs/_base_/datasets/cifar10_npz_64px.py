# CIFAR-10 from one file of arrays, as cifar100_npz_64px.py, and normalised as networks with ImageNet weights know it.
_base_ = './cifar100_npz_64px.py'
ann_file = 'data/cifar10.npz'

data_preprocessor = dict(
    num_classes=10, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=False)
train_dataloader = dict(dataset=dict(ann_file=ann_file))
val_dataloader = dict(dataset=dict(ann_file=ann_file))
test_dataloader = val_dataloader
