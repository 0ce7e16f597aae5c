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

from kdray.methods.base import Batch, Loss, Method, Per, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.layers import attention_losses, layer_map, state_losses
from kdray.model.precision import widened
from kdray.model.transformer import Taps, Transformer
from kdray.schema import View


class Feature(Method):
    """token_level with matched layer states and attention maps.

    Args:
        alpha: weight of the KL between distributions, in token_level.
        temperature: T of that KL.
        normalise: whether the teacher's states are normalised.
        hidden_weight: weight of the states' squared error; 0 leaves out the projections.
        attention_weight: weight of the KL between attention maps.
        decay: of both weights, each epoch.
        label_smoothing: of the cross-entropy only.
        student_width: D of the student.
        teacher_width: D of the teacher.
        student_layers: of the student's encoder and decoder.
        teacher_layers: of the teacher's encoder and decoder.
    """

    def __init__(
        self,
        *,
        alpha: float,
        temperature: float,
        normalise: bool,
        hidden_weight: float,
        attention_weight: float,
        decay: float,
        label_smoothing: float,
        student_width: int,
        teacher_width: int,
        student_layers: tuple[int, int],
        teacher_layers: tuple[int, int],
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self._temperature = temperature
        self.normalise = normalise
        self.hidden_weight = hidden_weight
        self.attention_weight = attention_weight
        self.decay = decay
        self.label_smoothing = label_smoothing
        self.encoder_map = layer_map(student_layers[0], teacher_layers[0])
        self.decoder_map = layer_map(student_layers[1], teacher_layers[1])

        def projections(layers: int) -> nn.ModuleList:
            count = layers if hidden_weight else 0  # none that would stay without a gradient
            return nn.ModuleList(nn.Linear(student_width, teacher_width) for _ in range(count))

        self.encoder_projections = projections(student_layers[0])
        self.decoder_projections = projections(student_layers[1])

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return (View.REFERENCE,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return (View.REFERENCE,)

    @property
    def temperature(self) -> float:
        """Temperature of those distributions."""
        return self._temperature

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        target = batch.targets[View.REFERENCE]
        taps = Taps() if self.hidden_weight or self.attention_weight else None
        memory = student.encode(batch.src_BS, batch.src_mask_BS, taps=taps)
        hidden = student.decode(target.inputs_BT, memory, batch.src_mask_BS, taps=taps)
        states = widened(hidden.flatten(0, 1).index_select(0, target.positions_N))
        ones = states.new_ones(states.size(0))
        losses = token_losses(
            states,
            student.output_weight,
            labels_N=target.labels_N,
            hard_weight_N=(1 - self.alpha) * ones,
            label_smoothing=self.label_smoothing,
            soft=soft_loss(teacher_of(batch, View.REFERENCE)),
            soft_weight_N=self.alpha * self.temperature**2 * ones,
        )
        terms = {Per.REFERENCE: losses.total}
        parts = {
            f"loss/cross_entropy_{View.REFERENCE}": (losses.hard_N.sum(), Per.REFERENCE),
            "loss/token": (losses.soft_N.sum(), Per.REFERENCE),
        }
        if taps is not None:
            factor = self.decay**self.clock.epoch
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
        found: dict[str, tuple[float, Tensor, Per]] = {}

        def on_source(name: str, weight: float, losses_BS: Tensor) -> None:
            means_B = losses_BS.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)
            found[name] = (weight, means_B.sum(), Per.SENTENCE)

        def on_target(name: str, weight: float, losses_BT: Tensor) -> None:
            losses_N = losses_BT.flatten().index_select(0, target.positions_N)
            found[name] = (weight, losses_N.sum(), Per.REFERENCE)

        encoder, decoder = self.encoder_map, self.decoder_map
        if weight := self.hidden_weight:
            projected = (self.encoder_projections, self.decoder_projections)
            pairs = (ours.encoder_states, self._targets(theirs.encoder_states, encoder), encoder)
            on_source("encoder_states", weight, state_losses(*pairs, projected[0]))
            pairs = (ours.decoder_states, self._targets(theirs.decoder_states, decoder), decoder)
            on_target("decoder_states", weight, state_losses(*pairs, projected[1]))
        if weight := self.attention_weight:
            maps = attention_losses(ours.encoder_maps, theirs.encoder_maps, encoder)
            on_source("encoder_attention", weight, maps)
            maps = attention_losses(ours.decoder_maps, theirs.decoder_maps, decoder)
            on_target("decoder_attention", weight, maps)
            maps = attention_losses(ours.cross_maps, theirs.cross_maps, decoder)
            on_target("cross_attention", weight, maps)
        return found

    def _targets(self, states: Sequence[Tensor], layers: Sequence[int]) -> dict[int, Tensor]:
        """The teacher's states at those layers."""
        found = {layer: states[layer] for layer in set(layers)}
        if not self.normalise:
            return found
        return {i: functional.layer_norm(state, state.shape[-1:]) for i, state in found.items()}
