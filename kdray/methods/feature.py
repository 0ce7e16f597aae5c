"""Feature distillation: layer states and attention maps of the teacher, added to token level.

Attention maps as in MiniLM (Wang et al. 2020) and A2D (2024), hidden states beside them, with [K]
these forms: student layer i of L_s learns teacher layer round((i+1)·L_t/L_s) − 1, not below 0;

    token_level + decay^epoch·(hidden_weight·MSE(W_i s_i, t_i) + attention_weight·KL(A_t ‖ A_s))

The teacher's states t are normalised to mean 0 and variance 1, as the layers that read them do (but
for gain and bias): what a pre-norm layer adds up has no scale of its own, and its square would
drown all else. The squared error is a mean over features, the KL one between maps averaged over
heads, both at real positions only and averaged over layers. Encoder terms are means over a
sentence's source tokens, in the unit of sentences; decoder terms, self-attention and
cross-attention, are sums over target tokens, as all losses of tokens are.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from kdray.config.methods.feature import FeatureConfig
from kdray.methods.base import Batch, Loss, Per
from kdray.methods.kernel_losses import SoftLoss, soft_loss
from kdray.methods.layers import attention_losses, layer_map, state_losses
from kdray.methods.logit_method import LogitMethod, Weights
from kdray.methods.online import OnlineTeacher
from kdray.methods.targets import TeacherTargets
from kdray.model.transformer import Taps, Transformer
from kdray.schema import View


class Feature(LogitMethod[FeatureConfig]):
    """token_level with matched layer states and attention maps.

    Without a weight for hidden states there are no projections, which would have no gradient.
    """

    def __init__(
        self, config: FeatureConfig, student: Transformer, teacher: OnlineTeacher | None = None
    ) -> None:
        super().__init__(config, student, teacher)
        assert teacher is not None, "the config was checked for this"
        ours, theirs = student.config, teacher.transformer().config
        self.encoder_map = layer_map(ours.encoder_layers, theirs.encoder_layers)
        self.decoder_map = layer_map(ours.decoder_layers, theirs.decoder_layers)

        def projections(layers: int) -> nn.ModuleList:
            count = layers if config.hidden_weight else 0
            return nn.ModuleList(nn.Linear(ours.width, theirs.width) for _ in range(count))

        self.encoder_projections = projections(ours.encoder_layers)
        self.decoder_projections = projections(ours.decoder_layers)

    @property
    def weights(self) -> Weights:
        """Those of token_level."""
        alpha, temperature = self.config.alpha, self.config.temperature
        return Weights(alpha * temperature**2, 1 - alpha, self.config.label_smoothing)

    def soft(self, teacher: TeacherTargets) -> SoftLoss:
        """Forward KL, with its slope."""
        return soft_loss(teacher)

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        taps = Taps() if self.config.hidden_weight or self.config.attention_weight else None
        loss = self.compare(student, batch, taps=taps)
        terms, parts = dict(loss.terms), dict(loss.parts)
        if taps is not None:
            factor = self.config.decay**self.clock.epoch
            for name, (weight, value, per) in self._features(taps, batch).items():
                weighted = factor * weight * value
                terms[per] = terms[per] + weighted if per in terms else weighted
                parts[f"loss/{name}"] = (value.detach(), per)
        return Loss(terms=terms, parts=parts)

    def _features(self, ours: Taps, batch: Batch) -> dict[str, tuple[float, Tensor, Per]]:
        """What is matched: its weight, its sum, and the sum's unit."""
        assert batch.teacher is not None, "the config was checked for this"
        target, mask = batch.targets[View.REFERENCE], batch.src_mask_BS
        theirs = batch.teacher.taps(batch.src_BS, mask, target.inputs_BT)
        matched: dict[str, tuple[float, Tensor, Per]] = {}

        def on_source(name: str, weight: float, losses_BS: Tensor) -> None:
            means_B = losses_BS.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)
            matched[name] = (weight, means_B.sum(), Per.SENTENCE)

        def on_target(name: str, weight: float, losses_BT: Tensor) -> None:
            losses_N = losses_BT.flatten().index_select(0, target.positions_N)
            matched[name] = (weight, losses_N.sum(), Per.REFERENCE)

        encoder, decoder = self.encoder_map, self.decoder_map
        if weight := self.config.hidden_weight:
            projected = (self.encoder_projections, self.decoder_projections)
            pairs = (ours.encoder_states, self._targets(theirs.encoder_states, encoder), encoder)
            on_source("encoder_states", weight, state_losses(*pairs, projected[0]))
            pairs = (ours.decoder_states, self._targets(theirs.decoder_states, decoder), decoder)
            on_target("decoder_states", weight, state_losses(*pairs, projected[1]))
        if weight := self.config.attention_weight:
            maps = attention_losses(ours.encoder_maps, theirs.encoder_maps, encoder)
            on_source("encoder_attention", weight, maps)
            maps = attention_losses(ours.decoder_maps, theirs.decoder_maps, decoder)
            on_target("decoder_attention", weight, maps)
            maps = attention_losses(ours.cross_maps, theirs.cross_maps, decoder)
            on_target("cross_attention", weight, maps)
        return matched

    def _targets(self, states: Sequence[Tensor], layers: Sequence[int]) -> dict[int, Tensor]:
        """The teacher's states at those layers."""
        chosen = {layer: states[layer] for layer in set(layers)}
        if self.config.states == "raw":
            return chosen
        return {i: functional.layer_norm(state, state.shape[-1:]) for i, state in chosen.items()}
