# CIFAR-100 from one file of arrays: train_x, train_y, test_x, test_y (and class_names), uint8 RGB images.
# The common protocol's augmentation: random crop with a padding of 4, and flip.
data_preprocessor = dict(
    num_classes=100, mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418], to_rgb=False)
ann_file = 'data/cifar100.npz'

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    dataset=dict(
        type='mmkd.ArrayDataset',
        ann_file=ann_file,
        split='train',
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=200,
    num_workers=2,
    dataset=dict(
        type='mmkd.ArrayDataset', ann_file=ann_file, split='test', pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
