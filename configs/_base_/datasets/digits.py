# scikit-learn's handwritten digits, drawn 16x16: 1,437 training and 360 test images, no download.
data_preprocessor = dict(num_classes=10, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(
        type='mmkd.Digits',
        split='train',
        pipeline=[
            dict(type='Resize', scale=16),
            dict(type='RandomCrop', crop_size=16, padding=2),
            dict(type='PackInputs'),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=180,
    num_workers=0,
    dataset=dict(
        type='mmkd.Digits',
        split='test',
        pipeline=[dict(type='Resize', scale=16), dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator
