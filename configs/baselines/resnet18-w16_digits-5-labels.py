"""The demo's student alone on 50 labelled digits, five of each class; counted in iterations."""
_base_ = './resnet18-w16_digits.py'
train_dataloader = dict(
    batch_size=50,
    dataset=dict(per_class=(0, 5)),
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True))  # mmengine waits 2 s where another one ends
param_scheduler = dict(by_epoch=False, convert_to_iter_based=False)
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=800, val_interval=400)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=800, save_best=None))
log_processor = dict(by_epoch=False)
