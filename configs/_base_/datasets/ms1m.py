# MS1MV3 in InsightFace's RecordIO, 112x112 and aligned: 93,431 people; AgeDB-30 to validate.
data_preprocessor = dict(num_classes=93431, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)

train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    dataset=dict(
        type='mmkd.FaceRecords',
        ann_file='data/ms1m-retinaface-t1/train.rec',
        pipeline=[
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type='mmkd.FaceBin',
        ann_file='data/ms1m-retinaface-t1/agedb_30.bin',
        pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmkd.FaceMetric')
test_evaluator = val_evaluator
