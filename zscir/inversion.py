"""The textual inversion network phi and the two losses it is trained with.

phi maps the feature of an image to one *pseudo-word*: a vector in the space of the text tower's token
embeddings, which stands where a caption has ``*``. Both losses take cached image features, so only the text
tower runs.

    >>> import torch
    >>> from zscir.inversion import InversionNetwork
    >>> phi = InversionNetwork(dim_in=8, dim_out=6).eval()
    >>> phi(torch.zeros(2, 8)).shape
    torch.Size([2, 6])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from zscir.backbone import Backbone

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}

#: The prompt of the original loss (Pic2Word, arXiv 2302.03084).
PROMPT = "a photo of *"


class InversionNetwork(nn.Module):
    """phi: image feature [B, dim_in] -> pseudo-word [B, dim_out].

    ``depth`` counts linear layers. The paper's "3-layer MLP, 768 -> 3072 -> 768" is read as three of them,
    d - 4d - 4d - d; ``depth=2`` is the other reading, d - 4d - d. Activation and dropout follow all but the
    last.

    Args:
        dim_in: width of the joint image-text space.
        dim_out: width of the text tower's token embeddings.
        hidden: width between; ``4 * dim_in`` when None.
        depth: number of linear layers, at least 1.
        dropout: probability in [0, 1).
        activation: "gelu", "relu" or "silu".

    Raises:
        ValueError: a width or depth below 1, a dropout outside [0, 1) or an unknown activation.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        hidden: int | None = None,
        depth: int = 3,
        dropout: float = 0.5,
        activation: str = "gelu",
    ):
        super().__init__()
        hidden = 4 * dim_in if hidden is None else hidden
        for name, value in (("dim_in", dim_in), ("dim_out", dim_out), ("hidden", hidden), ("depth", depth)):
            if value < 1:
                raise ValueError(f"{name} is {value!r}; legal: whole numbers from 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout!r}; legal: 0 <= dropout < 1")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; legal: {', '.join(ACTIVATIONS)}")
        self.settings = {
            "dim_in": dim_in,
            "dim_out": dim_out,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "activation": activation,
        }
        widths = [dim_in] + [hidden] * (depth - 1) + [dim_out]
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-2], widths[1:-1], strict=True):
            layers += [nn.Linear(width, following), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, features: Tensor) -> Tensor:
        """Pseudo-words [B, dim_out] of image features [B, dim_in]."""
        return self.layers(features)


def contrastive(a: Tensor, b: Tensor, logit_scale: float | Tensor) -> Tensor:
    """Symmetric InfoNCE of matching rows, a scalar.

    With s the logit scale: the mean over rows i of -log( exp(s a_i.b_i) / sum over j of exp(s a_i.b_j) ), the
    same with a and b exchanged, and of these two the mean. Rows told apart perfectly approach 0, rows without
    information give log(B), a single row gives 0. Always computed in float32, also under autocast.

        >>> rows = torch.eye(4)
        >>> round(contrastive(rows, rows, 100.0).item(), 4)
        0.0
        >>> round(contrastive(torch.ones(4, 1), torch.ones(4, 1), 100.0).item(), 4)  # log(4)
        1.3863

    Args:
        a: L2-normalised rows [B, dim].
        b: L2-normalised rows [B, dim]; row i belongs to row i of ``a``.
        logit_scale: what multiplies the cosines (CLIP's own is 100).

    Raises:
        ValueError: the shapes differ, are not two-dimensional, or there is no row.
    """
    if a.shape != b.shape or a.ndim != 2 or len(a) == 0:
        raise ValueError(
            f"a and b must both be [B, dim] with B >= 1, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    labels = torch.arange(len(a), device=a.device)
    with torch.autocast(a.device.type, enabled=False):
        logits = logit_scale * a.float() @ b.float().T  # [B, B]
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def original_loss(backbone: Backbone, phi: nn.Module, image_features: Tensor, prompt_ids: Tensor) -> Tensor:
    """Pic2Word's loss: "a photo of *" with phi of the whole image must find that image; a scalar.

    The ``contrastive`` loss between the composed text features, where ``*`` is phi(image feature), and the
    image features themselves, at the backbone's own logit scale. No caption is used.

    Args:
        backbone: frozen; the gradient passes through its text tower to phi.
        phi: the inversion network.
        image_features: whole images, L2-normalised [B, dim].
        prompt_ids: token ids of ``PROMPT`` [1, L] or [B, L], from ``backbone.tokenize``.
    """
    ids = prompt_ids.expand(len(image_features), -1)
    composed = backbone.compose_tokens(ids, phi(image_features))
    return contrastive(composed, image_features, backbone.logit_scale)


def query_target_loss(
    backbone: Backbone, phi: nn.Module, masked_features: Tensor, caption_ids: Tensor, image_features: Tensor
) -> Tensor:
    """The paper's query-target loss (arXiv 2406.18836): the masked pair must find the image; a scalar.

    The query is the caption whose noun is ``*``, with the pseudo-word phi(feature of the masked image) in its
    place; the target is the original image. The ``contrastive`` loss between queries and targets, at the
    backbone's own logit scale.

    Args:
        backbone: frozen; the gradient passes through its text tower to phi.
        phi: the inversion network.
        masked_features: masked images, L2-normalised [B, dim].
        caption_ids: token ids of the masked captions [B, L], one ``*`` each, from ``backbone.tokenize``.
        image_features: the original images, L2-normalised [B, dim].
    """
    composed = backbone.compose_tokens(caption_ids, phi(masked_features))
    return contrastive(composed, image_features, backbone.logit_scale)
