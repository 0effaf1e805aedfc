import pytest
import torch

from mmkd.errors import UserError
from mmkd.losses import PKDLoss


def test_tokens_are_standardised_by_channel():
    own, theirs = torch.randn(2, 7, 5) * 3 + 1, torch.randn(2, 7, 5)
    maps = [x.transpose(1, 2).unsqueeze(-1) for x in (own, theirs)]
    torch.testing.assert_close(PKDLoss()((own,), (theirs,)), PKDLoss()((maps[0],), (maps[1],)))


def test_size_and_offset_of_channels_do_not_matter_and_no_gradient_reaches_the_teacher():
    own, theirs = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5, requires_grad=True)
    scale, offset = torch.tensor([2.0, 0.1, 30.0]).view(3, 1, 1), torch.tensor([1.0, -9.0, 0.0]).view(3, 1, 1)
    torch.testing.assert_close(
        PKDLoss()((own,), (theirs,)), PKDLoss()((own * scale + offset,), (theirs,)), rtol=1e-4, atol=1e-5
    )
    assert not PKDLoss()((own,), (theirs,)).requires_grad


def test_other_shapes():
    with pytest.raises(UserError, match=r'PKDLoss: .* \(2, 3, 4, 4\) and .* \(2, 3, 5, 4\) differ'):
        PKDLoss()((torch.zeros(2, 3, 4, 4),), (torch.zeros(2, 3, 5, 4),))
