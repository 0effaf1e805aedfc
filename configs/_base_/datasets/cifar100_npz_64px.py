# CIFAR-100, augmented as ever at 32x32 pixels and then enlarged to 64x64, for networks that shrink their input 32 times.
_base_ = './cifar100_npz.py'

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='RandomCrop', crop_size=32, padding=4),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='Resize', scale=64),
        dict(type='PackInputs'),
    ]))
val_dataloader = dict(dataset=dict(pipeline=[dict(type='Resize', scale=64), dict(type='PackInputs')]))
test_dataloader = val_dataloader
