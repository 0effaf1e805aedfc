import torch

from mmkd.utils.autocast import without_autocast


def test_nothing_is_cast_inside_and_everything_again_after():
    ones = torch.ones(2, 2)
    with torch.autocast('cpu', torch.bfloat16):
        with without_autocast(ones):
            assert (ones @ ones).dtype == torch.float32
        assert (ones @ ones).dtype == torch.bfloat16
    with without_autocast(ones):
        assert (ones @ ones).dtype == torch.float32
