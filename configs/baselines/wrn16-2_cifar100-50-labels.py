"""wrn16-2 alone on a tenth of CIFAR-100's labels, 50 of each class; as many iterations as with all of them."""
_base_ = './wrn16-2_cifar100.py'
train_dataloader = dict(dataset=dict(per_class=(0, 50)))
train_cfg = dict(max_epochs=2400, val_interval=100)
param_scheduler = dict(milestones=[1500, 1800, 2100])
