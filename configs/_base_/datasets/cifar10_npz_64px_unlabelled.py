# CIFAR-10's training images but 50 of each class, without labels, beside cifar10_npz_64px.py.
unlabelled_dataloader = dict(
    batch_size=64,
    num_workers=2,
    dataset=dict(
        type='mmkd.ArrayDataset',
        ann_file='data/cifar10.npz',
        split='train',
        per_class=(50, None),
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='Resize', scale=64),
            dict(type='PackInputs'),
        ]))
