"""The textual inversion network phi and the losses it is trained with.

phi maps the feature of an image to one *pseudo-word*: a vector in the space of the text tower's token
embeddings, which stands where a caption has ``*``. The losses take cached features, so only the text tower
runs.

    >>> import torch
    >>> from zscir.inversion import InversionNetwork
    >>> phi = InversionNetwork(dim_in=8, dim_out=6).eval()
    >>> phi(torch.zeros(2, 8)).shape
    torch.Size([2, 6])
"""

import torch
from open_clip import ClipLoss
from torch import Tensor, nn
from torch.nn import functional as F

from zscir.backbone import Backbone
from zscir.storage.checks import check, chosen, number, one_of, whole_from

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}

#: Networks by name: settings of `InversionNetwork` beside the widths, which follow the backbone.
#: "three-layer": d - 4d - 4d - d with GELU and dropout 0.5, as SEARLE (arXiv 2303.15247) and LinCIR
#: (arXiv 2312.01998) publish theirs, and our reading of the paper's "3-layer MLP, 768 - 3072 - 768";
#: "two-layer": its other reading, d - 4d - d; "pic2word": d - 512 - 512 - d with ReLU and dropout 0.1.
NETWORKS: dict[str, dict] = {
    "three-layer": {"hidden": None, "depth": 3, "dropout": 0.5, "activation": "gelu"},
    "two-layer": {"hidden": None, "depth": 2, "dropout": 0.5, "activation": "gelu"},
    "pic2word": {"hidden": 512, "depth": 3, "dropout": 0.1, "activation": "relu"},
}
#: What is legal for the settings of `InversionNetwork`.
RULES = {
    **dict.fromkeys(("dim_in", "dim_out", "hidden", "depth"), whole_from(1)),
    "dropout": number("0 <= dropout < 1", lambda dropout: 0 <= dropout < 1),
    "activation": one_of(*ACTIVATIONS),
}
#: Distances between queries and targets, see `distance`.
LOSSES = ("contrastive", "cosine", "mse")
#: The prompt of the original loss (Pic2Word, arXiv 2302.03084).
PROMPT = "a photo of *"


class InversionNetwork(nn.Module):
    """phi: image feature [B, dim_in] -> pseudo-word [B, dim_out].

    ``depth`` counts linear layers. The paper's "3-layer MLP, 768 -> 3072 -> 768" is read as three of them,
    d - 4d - 4d - d; ``depth=2`` is the other reading, d - 4d - d. Activation and dropout follow all but the
    last. `NETWORKS` has the settings by name: ``InversionNetwork(768, 768, **NETWORKS["pic2word"])``.

    Args:
        dim_in: width of the joint image-text space.
        dim_out: width of the text tower's token embeddings.
        hidden: width between; ``4 * dim_in`` when None.
        depth: number of linear layers, at least 1.
        dropout: probability in [0, 1).
        activation: "gelu", "relu" or "silu".
        unit_input: whether it expects features of length 1, as all of ours do; the networks that Pic2Word,
            SEARLE and LinCIR publish were trained on CLIP's features as they come.

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
        unit_input: bool = True,
    ):
        super().__init__()
        self.unit_input = unit_input
        hidden = 4 * dim_in if hidden is None else hidden
        settings = {"dim_in": dim_in, "dim_out": dim_out, "hidden": hidden, "depth": depth}
        self.settings = {**settings, "dropout": dropout, "activation": activation, "unit_input": unit_input}
        for name, rule in RULES.items():
            check(name, self.settings[name], rule)
        widths = [dim_in] + [hidden] * (depth - 1) + [dim_out]
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-2], widths[1:-1], strict=True):
            layers += [nn.Linear(width, following), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, features: Tensor) -> Tensor:
        """Pseudo-words [B, dim_out] of image features [B, dim_in]."""
        return self.layers(features)


def distance(a: Tensor, b: Tensor, kind: str = "contrastive", logit_scale: float | Tensor = 1.0) -> Tensor:
    """How far matching rows are from each other, a scalar; always in float32, also under autocast.

    "contrastive" is symmetric InfoNCE, by ``open_clip.ClipLoss``. With s the logit scale: the mean over rows
    i of -log( exp(s a_i.b_i) / sum over j of exp(s a_i.b_j) ), the same with a and b exchanged, and of these
    two the mean. Rows told apart perfectly approach 0, rows without information give log(B), a single row
    gives 0. "cosine" is the mean of 1 - a_i.b_i; "mse" the mean of (a - b)^2 over rows and components. For
    rows of length 1 the last is 2/dim times the cosine distance: both pull, neither pushes.

        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
        >>> [round(distance(a, b, kind).item(), 4) for kind in ("cosine", "mse")]
        [0.4, 0.4]
        >>> rows = torch.eye(4)
        >>> round(distance(rows, rows, logit_scale=100.0).item(), 4)
        0.0
        >>> round(distance(torch.ones(4, 1), torch.ones(4, 1), logit_scale=100.0).item(), 4)  # log(4)
        1.3863

    Args:
        a: L2-normalised rows [B, dim].
        b: L2-normalised rows [B, dim]; row i belongs to row i of ``a``.
        kind: one of `LOSSES`.
        logit_scale: what multiplies the cosines of "contrastive" (CLIP's own is 100).

    Raises:
        ValueError: an unknown kind; the shapes differ, are not two-dimensional, or there is no row.
    """
    chosen("kind", kind, LOSSES)
    if a.shape != b.shape or a.ndim != 2 or len(a) == 0:
        raise ValueError(
            f"a and b must both be [B, dim] with B >= 1, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    a, b = a.float(), b.float()
    if kind == "contrastive":
        with torch.autocast(a.device.type, enabled=False):
            return ClipLoss()(b, a, logit_scale)
    return (1 - (a * b).sum(dim=-1)).mean() if kind == "cosine" else F.mse_loss(a, b)


def original_loss(
    backbone: Backbone, phi: nn.Module, image_features: Tensor, prompt_ids: Tensor, loss: str = "contrastive"
) -> Tensor:
    """Pic2Word's loss: "a photo of *" with phi of the whole image must find that image; a scalar.

    The `distance` between the composed text features, where ``*`` is phi(image feature), and the image
    features themselves; contrastive, at the backbone's own logit scale, unless told otherwise. No caption is
    used.

    Args:
        backbone: frozen; the gradient passes through its text tower to phi.
        phi: the inversion network.
        image_features: whole images, L2-normalised [B, dim].
        prompt_ids: token ids of ``PROMPT`` [1, L] or [B, L], from ``backbone.tokenize``.
        loss: one of `LOSSES`.
    """
    ids = prompt_ids.expand(len(image_features), -1)
    return query_target_loss(backbone, phi, image_features, ids, image_features, loss)


def query_target_loss(
    backbone: Backbone,
    phi: nn.Module,
    masked_features: Tensor,
    caption_ids: Tensor,
    image_features: Tensor,
    loss: str = "contrastive",
) -> Tensor:
    """The paper's query-target loss (arXiv 2406.18836): the masked pair must find the image; a scalar.

    The query is the caption whose noun is ``*``, with the pseudo-word phi(feature of the masked image) in its
    place; the target is the original image. The `distance` between queries and targets; contrastive, at the
    backbone's own logit scale, unless told otherwise. The ``*`` may stand at another place in every caption.

    LinCIR's loss (arXiv 2312.01998) is the same with text in the place of images, by "mse": the pseudo-word
    is phi(`noisy` feature of the caption), and the masked caption must give the caption's own feature back.
    LinCIR replaces every keyword of the caption; here it is the one noun that the masked pairs hide too.

    Args:
        backbone: frozen; the gradient passes through its text tower to phi.
        phi: the inversion network.
        masked_features: masked images, L2-normalised [B, dim].
        caption_ids: token ids of the masked captions [B, L], one ``*`` each, from ``backbone.tokenize``.
        image_features: the original images, L2-normalised [B, dim].
        loss: one of `LOSSES`.
    """
    composed = backbone.compose_tokens(caption_ids, phi(masked_features))
    return distance(composed, image_features, loss, backbone.logit_scale)


def noisy(features: Tensor, scale: float = 1.0) -> Tensor:
    """Features [B, dim] with LinCIR's noise (arXiv 2312.01998), L2-normalised again.

    To each row u z is added, z ~ N(0, 1) in every component and one u ~ U(0, 1) a row: text features are
    spread until they reach where image features live. LinCIR adds it to CLIP's features as they come; ours
    have length 1, so z is scaled to an expected length of ``scale``, and the sum has length 1 again. Drawn
    from torch's global generator.
    """
    strength = torch.rand(len(features), 1, device=features.device)
    noise = torch.randn_like(features) * (scale / features.shape[-1] ** 0.5)
    return F.normalize(features + strength * noise, dim=-1)
