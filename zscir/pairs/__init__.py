"""Image-caption pairs, and the masked pairs that are made of them (chapters 2 and 3)."""

from zscir.pairs.build import build_masked_pairs, masked_pairs_at
from zscir.pairs.features import image_features
from zscir.pairs.masked_pairs import MaskedPairs
from zscir.pairs.masking import Masking
from zscir.pairs.sources import Pairs, load_pairs, pair_source
