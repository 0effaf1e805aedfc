"""Stand-in for ``mmcv._ext``, the compiled half of mmcv.

Executed under the name ``mmcv._ext`` when, and only when, mmcv was installed without its compiled
ops (see ``mmkd/compat/stand_in.py``). It offers the ops that detectors call, with the signatures of
mmcv's C++ functions (outputs are passed in and filled), computed by torchvision's own CPU and CUDA
kernels or by plain torch. Every other name is a function that raises when it is called, so that
``mmcv.ops`` imports as a whole.
"""

import logging

from mmengine.logging import print_log

from mmkd.compat.mmcv_ops.attention import ms_deform_attn_backward, ms_deform_attn_forward
from mmkd.compat.mmcv_ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from mmkd.compat.mmcv_ops.focal_loss import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from mmkd.compat.mmcv_ops.nms import nms, nms_match, softnms
from mmkd.compat.mmcv_ops.roi_align import roi_align_backward, roi_align_forward

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """What mmcv's environment report prints."""
    return "not compiled (mmkd's torchvision stand-in)"


def get_compiling_cuda_version() -> str:
    """What mmcv's environment report prints."""
    return 'not available'


def __getattr__(name: str):
    if name.startswith('__'):
        raise AttributeError(name)

    def missing_op(*args, **kwargs):
        raise NotImplementedError(
            f'mmcv.ops: "{name}" needs compiled mmcv, and this mmcv was installed without its '
            'compiled ops; install an mmcv built for your torch (see docs/installation.md).'
        )

    return missing_op


print_log(
    'mmcv has no compiled ops: torchvision stands in for the ones that detectors call.',
    logger='current',
    level=logging.INFO,
)
