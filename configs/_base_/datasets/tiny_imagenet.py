# Tiny ImageNet, 200 classes of 64x64 pixels, from its archive as it is; random crop with a padding of 8, and flip.
data_preprocessor = dict(
    num_classes=200, mean=[122.46, 114.26, 101.36], std=[70.64, 68.62, 71.93], to_rgb=True)
data_root = 'data/tiny-imagenet-200'

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type='mmkd.TinyImageNet',
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCrop', crop_size=64, padding=8),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=200,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type='mmkd.TinyImageNet',
        data_root=data_root,
        split='val',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
