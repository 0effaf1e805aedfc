# CIFAR-10's training images but 50 of each class, without labels, beside cifar10_npz_64px.py.
_base_ = './cifar100_npz_unlabelled.py'

unlabelled_dataloader = dict(
    dataset=dict(
        ann_file='data/cifar10.npz',
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='Resize', scale=64),
            dict(type='PackInputs'),
        ]))
