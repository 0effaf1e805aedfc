# CIFAR-100's classes as people, 32x32: 80 to learn from, 20 others to verify (tools/dataset_converters/identities.py):
# 6,000 pairs while training, all pairs of 2,000 images by tools/test.py.
data_preprocessor = dict(num_classes=80, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='mmkd.FaceList',
        data_root='data/cifar100_identities',
        ann_file='train.txt',
        data_prefix='train',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=200,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='mmkd.FacePairs',
        data_root='data/cifar100_identities',
        ann_file='pairs.txt',
        data_prefix='test',
        suffix='.png',
        rates=(0.1, 0.01, 0.001),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = dict(
    batch_size=200,
    num_workers=2,
    dataset=dict(
        type='mmkd.FaceIdentities',
        data_root='data/cifar100_identities',
        ann_file='test.txt',
        data_prefix='test',
        rates=(0.01, 0.001, 0.0001),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmkd.FaceMetric')
test_evaluator = val_evaluator
