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

from functools import partial

from torch import Tensor, nn

from kdray.config.methods.feature import FeatureConfig
from kdray.methods.base import Batch, Loss, Per
from kdray.methods.divergence import TokenLevel
from kdray.methods.layers import attention_losses, layer_map, state_losses
from kdray.methods.online import OnlineTeacher
from kdray.model.transformer import Taps, Transformer
from kdray.schema import View


class Feature(TokenLevel[FeatureConfig]):
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

    def forward(self, student: Transformer, batch: Batch, taps: Taps | None = None) -> Loss:
        """Loss sums of a batch."""
        if not (self.config.hidden_weight or self.config.attention_weight):
            return super().forward(student, batch)
        taps = Taps()
        loss = super().forward(student, batch, taps)
        terms, parts = dict(loss.terms), dict(loss.parts)
        factor = self.config.decay**self.clock.epoch
        for name, (weight, losses) in self._features(taps, batch).items():
            if name.startswith("encoder"):
                mask = batch.src_mask_BS
                value = (losses.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)).sum()
                per = Per.SENTENCE
            else:
                places = batch.targets[View.REFERENCE].positions_N
                value, per = losses.flatten().index_select(0, places).sum(), Per.REFERENCE
            weighted = factor * weight * value
            terms[per] = terms[per] + weighted if per in terms else weighted
            parts[f"loss/{name}"] = (value.detach(), per)
        return Loss(terms=terms, parts=parts)

    def _features(self, ours: Taps, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """What is matched: its weight, and its loss at each position [B, positions]."""
        assert batch.teacher is not None, "the config was checked for this"
        inputs_BT = batch.targets[View.REFERENCE].inputs_BT
        theirs = batch.teacher.taps(batch.src_BS, batch.src_mask_BS, inputs_BT)
        encoder, decoder = self.encoder_map, self.decoder_map
        matched: dict[str, tuple[float, Tensor]] = {}
        if weight := self.config.hidden_weight:
            states = partial(state_losses, normalised=self.config.states == "normalised")
            of_encoder, of_decoder = self.encoder_projections, self.decoder_projections
            losses = states(ours.encoder_states, theirs.encoder_states, encoder, of_encoder)
            matched["encoder_states"] = (weight, losses)
            losses = states(ours.decoder_states, theirs.decoder_states, decoder, of_decoder)
            matched["decoder_states"] = (weight, losses)
        if weight := self.config.attention_weight:
            losses = attention_losses(ours.encoder_maps, theirs.encoder_maps, encoder)
            matched["encoder_attention"] = (weight, losses)
            losses = attention_losses(ours.decoder_maps, theirs.decoder_maps, decoder)
            matched["decoder_attention"] = (weight, losses)
            losses = attention_losses(ours.cross_maps, theirs.cross_maps, decoder)
            matched["cross_attention"] = (weight, losses)
        return matched
