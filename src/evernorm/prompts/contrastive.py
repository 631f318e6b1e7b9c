"""Structure-based contrastive loss (UCAD Eq. 3): patches of one part attract, patches of different parts repel."""

from typing import TYPE_CHECKING

from evernorm.prompts.params import Loss

if TYPE_CHECKING:
    from torch import Tensor


def structure_loss(features: "Tensor", labels: "Tensor", loss: Loss, temperature: float) -> "Tensor":
    """The loss of a batch, the mean over all pairs of patches within each image.

    With C the cosines of the patches of one image and S = C / τ:

    * ``exponential`` (the published code): −S for a pair of one part, exp(S) for a pair of two.
    * ``linear`` (Eq. 3 as printed, λ = 1): −C for a pair of one part, C for a pair of two. Printed as sums; the
      mean has the same minimum and a gradient whose size does not depend on the number of patches.

    Args:
        features: float ``[n, P, d]``.
        labels: int ``[n, P]``, the part that each patch belongs to.
        loss: Which form.
        temperature: τ of the exponential form.
    """
    from torch.nn.functional import normalize

    unit = normalize(features, dim=2)
    cosines = unit @ unit.transpose(1, 2)
    same = labels[:, :, None] == labels[:, None, :]
    if loss is Loss.LINEAR:
        pairs = cosines.where(~same, -cosines)
    else:
        scaled = cosines / temperature
        # Without the mask, exp of a patch with itself may overflow, and 0 · inf makes the gradient NaN.
        pairs = (-scaled).where(same, scaled.masked_fill(same, 0).exp())
    return pairs.mean()
