"""SSKD on the digits with five labels a class: stages learn from all images. Train the teacher first."""
_base_ = '../baselines/resnet18-w16_digits-5-labels.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    alpha=0.3,  # soft targets teach classes from the images without labels
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet18-w32_digits.py',
        checkpoint='work_dirs/resnet18-w32_digits/epoch_10.pth'))
unlabelled_dataloader = dict(
    batch_size=50,
    num_workers=0,
    dataset=dict(type='mmkd.Digits', per_class=(5, None), pipeline={{_base_.train_dataloader.dataset.pipeline}}))
