# The other eight photos of each person of the Olivetti faces, without labels.
unlabelled_dataloader = dict(
    batch_size=30,
    num_workers=2,
    dataset=dict(
        type='mmkd.FaceList',
        data_root='data/olivetti',
        ann_file='train.txt',
        data_prefix='train',
        indices=[10 * person + photo for person in range(30) for photo in range(2, 10)],
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCrop', crop_size=64, padding=4, padding_mode='edge'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))
