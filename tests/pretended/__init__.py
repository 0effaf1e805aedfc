"""A pretended GPU, for tests on machines without one.

Inside :func:`pretend_cuda` torch, mmengine and all on top of them believe in one CUDA device. A tensor "on" it is a
wrapper that says ``cuda:0`` around a real CPU tensor: programs compute real numbers and train. What a GPU would refuse
is refused (tensors of two devices in one operator, ``numpy()`` of a CUDA tensor, pinning what lies on the GPU). What a
GPU is given (launches) and what the host would wait for is counted by the line that asked for it.

Not modelled: speed, streams, memory, other numbers of CUDA's kernels, cuDNN (batch norm is the native one).
"""

from tests.pretended.machine import pretend_cuda

__all__ = ['pretend_cuda']
