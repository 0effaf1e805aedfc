"""What tools/device/speed.py measures, in which order."""

from dataclasses import dataclass
from typing import Any

from iterations import LOW
from pairs import PAIRS, Pair

WAYS: dict[str, dict[str, Any]] = {  # options of mmkd besides the plain run
    'frozen_dtype': LOW,
    'bfloat16': dict(amp='bfloat16'),
    'channels first': dict(channels_last=False),
    'graphs': dict(cuda_graph=True),
    'graphs with the step': dict(cuda_graph=True, fused=True),
}
ALL_PAIRS = {
    **PAIRS,
    'resnet56 -> resnet20': Pair('mmkd::sskd/sskd_resnet56_resnet20_cifar100.py', 32, (16, 128), 100),
    'digits': Pair('mmkd::sskd/sskd_resnet18-w32_resnet18-w16_digits.py', 16, (2, 2), 10),
}


@dataclass(frozen=True)
class Iterations:
    """The phases of a method.

    Args:
        pair: The name of the networks.
        method: The class of a distiller.
        ways: Of mmkd, besides the plain one.
        torchdistill: Whether its KD, of a ResNet-18 from a ResNet-34, is measured, too.
    """

    pair: str
    method: str
    ways: tuple[str, ...] = ()
    torchdistill: bool = False
    part, phase = 'iterations', None  # which means all


@dataclass(frozen=True)
class Compiled:
    """A phase that is compiled.

    Args:
        pair: The name of the networks.
        method: The class of a distiller.
        phase: Its name.
        compile: The distiller's option.
    """

    pair: str
    method: str
    phase: str = 'all'
    compile: bool | dict = True
    part = 'compiled'


PLAN: tuple[Iterations | Compiled, ...] = (  # the most valuable first
    Iterations('resnet56 -> resnet20', 'SSKD', ('graphs', 'graphs with the step', 'frozen_dtype', 'bfloat16')),
    Iterations('ResNet-34 -> ResNet-18', 'SSKD', ('frozen_dtype', 'bfloat16', 'channels first')),
    Iterations('resnet56 -> resnet20', 'KD', ('graphs', 'graphs with the step', 'frozen_dtype')),
    Iterations('resnet56 -> resnet20', 'MHKD', ('graphs', 'frozen_dtype')),
    Iterations('RetinaNet R-101 -> R-50', 'SSKD', ('frozen_dtype', 'bfloat16')),
    Iterations('ResNet-34 -> ResNet-18', 'KD', ('frozen_dtype', 'bfloat16'), torchdistill=True),
    Iterations('resnet32x4 -> resnet8x4', 'SSKD', ('graphs', 'frozen_dtype', 'bfloat16', 'channels first')),
    Iterations('ResNet-34 -> ResNet-18', 'MHKD', ('frozen_dtype',)),
    Compiled('ResNet-34 -> ResNet-18', 'KD'),
    Compiled('resnet56 -> resnet20', 'SSKD', 'layer3'),  # the most costly phase
    Compiled('resnet56 -> resnet20', 'MHKD'),
    Iterations('RetinaNet R-101 -> R-50', 'KD', ('frozen_dtype',)),
    Iterations('resnet32x4 -> resnet8x4', 'KD', ('frozen_dtype',)),
    Iterations('RetinaNet R-101 -> R-50', 'MHKD', ('frozen_dtype',)),
    Iterations('resnet32x4 -> resnet8x4', 'MHKD', ('frozen_dtype',)),
    Compiled('resnet56 -> resnet20', 'KD'),
    Compiled('ResNet-34 -> ResNet-18', 'SSKD', 'layer4'),  # the most costly phase
)
DRY_PLAN: tuple[Iterations | Compiled, ...] = (
    Iterations('digits', 'SSKD', tuple(way for way in WAYS if way != 'bfloat16')),  # float32 without a GPU
    Iterations('digits', 'KD', torchdistill=True),
    Compiled('digits', 'SSKD', 'layer1', compile=dict(backend='eager')),  # a backend that compiles takes a minute
)
