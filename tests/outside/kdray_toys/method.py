"""The squared Hellinger distance: H² = 1 − Σ sqrt(p·q)."""

from torch import Tensor

from kdray.methods.logit_method import LogitMethod, Weights
from kdray_toys.method_config import HellingerConfig


class Hellinger(LogitMethod[HellingerConfig]):
    """Cross-entropy and H², whose gradient autograd finds."""

    part = "loss/hellinger"

    @property
    def weights(self) -> Weights:
        """α and 1−α."""
        config = self.config
        return Weights(config.alpha, 1 - config.alpha, config.label_smoothing)

    def loss(self, student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
        """H² at each position. -> [n]."""
        log_q, log_p = student_logits_NV.log_softmax(1), teacher_logits_NV.log_softmax(1)
        return 1 - ((log_q + log_p) / 2).exp().sum(1)
