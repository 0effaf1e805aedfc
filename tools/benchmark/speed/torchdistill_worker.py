"""torchdistill trains ResNet-18 from ResNet-34 here, as many iterations as each line of input says."""

import sys
from argparse import ArgumentParser

import torch
from torchdistill.core.distillation import get_distillation_box
from torchvision.models import resnet18, resnet34

KD = dict(
    key='KDLoss',
    kwargs=dict(
        student_module_path='.',
        student_module_io='output',
        teacher_module_path='.',
        teacher_module_io='output',
        temperature=4.0,
        alpha=0.9,
        reduction='batchmean',
    ),
)
STEM = ['conv1', 'bn1', 'relu', 'maxpool']


def kd() -> dict:
    """Soft targets."""
    model = dict(forward_proc='forward_batch_only', sequential=[])
    return dict(
        teacher=dict(**model, requires_grad=False),
        student=dict(**model),
        criterion=dict(key='WeightedSumLoss', kwargs=dict(sub_terms=dict(kd=dict(criterion=KD, weight=1.0)))),
    )


def stage(number: int) -> dict:
    """The hints of FitNets, for one group of blocks: both networks are cut behind it, what is before it is frozen."""
    layers = [f'layer{i}' for i in range(1, number + 1)]
    model = dict(
        forward_proc='forward_batch_only',
        sequential=[*STEM, *layers],
        forward_hook=dict(input=[], output=[layers[-1]]),
    )
    hint = dict(
        criterion=dict(key='MSELoss', kwargs=dict(reduction='mean')),
        criterion_wrapper=dict(
            key='SimpleLossWrapper',
            kwargs=dict(
                input=dict(is_from_teacher=False, module_path=layers[-1], io='output'),
                target=dict(is_from_teacher=True, module_path=layers[-1], io='output'),
            ),
        ),
        weight=1.0,
    )
    frozen = [*STEM[:2], *layers[:-1]] if number > 1 else []
    return dict(
        teacher=dict(**model, requires_grad=False),
        student=dict(**model, frozen_modules=frozen),
        criterion=dict(key='WeightedSumLoss', kwargs=dict(sub_terms=dict(hint=hint))),
    )


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('phase', help='kd, or layer1 to layer4')
    parser.add_argument('--batch', type=int, required=True)
    parser.add_argument('--threads', type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    config = kd() if args.phase == 'kd' else stage(int(args.phase[-1]))
    config.update(
        num_epochs=1,
        optimizer=dict(key='SGD', kwargs=dict(lr=1e-5, momentum=0.9, weight_decay=1e-4)),
    )
    models = resnet34().to(device), resnet18().to(device)
    box = get_distillation_box(*models, {}, config, device, None, False, 1)
    box.pre_epoch_process(epoch=0)
    images = torch.randn(args.batch, 3, 224, 224, device=device)
    labels = torch.randint(1000, (args.batch,), device=device)
    print('ready', flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            box.pre_forward_process()
            loss = box.forward_process(images, labels, None)
            box.post_forward_process(loss)
        if device.type == 'cuda':
            torch.cuda.synchronize()
        print('done', flush=True)


if __name__ == '__main__':
    main()
