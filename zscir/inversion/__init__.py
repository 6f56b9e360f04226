"""The textual inversion network phi: what it is, how it is trained, how it is kept (chapter 4)."""

from zscir.inversion.config import TrainConfig
from zscir.inversion.fitted import Inversion, load_inversion
from zscir.inversion.network import InversionNetwork, original_loss, query_target_loss
from zscir.inversion.training import fit
