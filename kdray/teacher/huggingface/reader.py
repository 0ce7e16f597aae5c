"""A model of Hugging Face that gives distributions over the pieces that its students share.

B sentences, S source positions, T target positions, N real target positions, V vocabulary, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdray.errors import ConfigError, DataError
from kdray.methods.targets import DenseTargets, Member
from kdray.model.transformer import Taps, Transformer
from kdray.teacher.huggingface.loading import load_torch
from kdray.text.tokenizer import BOS, EOS, PAD, Tokenizer


@dataclass(frozen=True, slots=True)
class HuggingFaceReader:
    """See `OnlineTeacher`.

    weight_VD: the output matrix; a bias is one more column of it, to a state that is always one.
    """

    model: Any
    weight_VD: Tensor
    has_bias: bool

    @property
    def positions(self) -> int:
        """The longest sequence that it reads."""
        return int(self.model.config.max_position_embeddings)

    @property
    def output_weights(self) -> list[Tensor]:
        """The output matrix."""
        return [self.weight_VD]

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor) -> list[Tensor]:
        """Encoder states."""
        with torch.no_grad():
            encoded = self.model.get_encoder()(input_ids=src_BS, attention_mask=src_mask_BS.long())
        return [encoded.last_hidden_state]

    def read(
        self,
        src_BS: Tensor,
        src_mask_BS: Tensor,
        inputs_BT: Tensor,
        positions_N: Tensor,
        *,
        temperature: float = 1.0,
        memories: Sequence[Tensor] | None = None,
    ) -> DenseTargets:
        """Distributions at the real positions of target sequences."""
        (memory,) = memories or self.encode(src_BS, src_mask_BS)
        with torch.no_grad():
            decoded = self.model.get_decoder()(
                input_ids=inputs_BT,
                encoder_hidden_states=memory,
                encoder_attention_mask=src_mask_BS.long(),
                use_cache=False,
            )
        states_ND = decoded.last_hidden_state.flatten(0, 1).index_select(0, positions_N)
        if self.has_bias:
            states_ND = torch.cat((states_ND, states_ND.new_ones(len(states_ND), 1)), dim=1)
        return DenseTargets((Member(states_ND, self.weight_VD),), temperature)

    def transformer(self) -> Transformer:
        """There is none; the configuration refuses methods that look inside."""
        raise ConfigError("recipe.teacher: a teacher of kind huggingface is no kdray model")

    def taps(self, src_BS: Tensor, src_mask_BS: Tensor, inputs_BT: Tensor) -> Taps:
        """There are none; the configuration refuses methods that look inside."""
        raise ConfigError("recipe.teacher: a teacher of kind huggingface is no kdray model")


def read_model(folder: Path, tokenizer: Tokenizer, *, device: str) -> HuggingFaceReader:
    """Load a model whose ids are those of a kdray tokenizer.

    Raises:
        DataError: it cannot be read, or is of another vocabulary.
    """
    model = load_torch(folder)
    config = model.config
    special = {"pad": config.pad_token_id, "eos": config.eos_token_id}
    special["start"] = config.decoder_start_token_id
    if special != {"pad": PAD, "eos": EOS, "start": BOS}:
        raise DataError(
            f"{folder}: its ids of pad, end and decoder start are {special}, and those of the "
            f"tokenizer in the folder {PAD}, {EOS} and {BOS}; it does not belong to this tokenizer"
        )
    sizes = (config.vocab_size, getattr(config, "decoder_vocab_size", None) or config.vocab_size)
    if sizes != (tokenizer.src_vocab, tokenizer.tgt_vocab) or not tokenizer.joint:
        raise DataError(
            f"{folder}: the model has {sizes[0]} source and {sizes[1]} target pieces, the "
            f"tokenizer in the folder {tokenizer.src_vocab} and {tokenizer.tgt_vocab}; students "
            "share a joint vocabulary that is the model's own"
        )
    if config.model_type in ("t5", "mt5"):
        raise DataError(
            f"{folder}: a {config.model_type} model is read for text alone; give the students a "
            "vocabulary of their own with recipe.tokenizer"
        )
    model.to(device)
    weight_VD, bias = model.lm_head.weight, getattr(model, "final_logits_bias", None)
    has_bias = bias is not None and bool(bias.any())
    if has_bias and bias is not None:
        weight_VD = torch.cat((weight_VD, bias.reshape(-1, 1)), dim=1)
    return HuggingFaceReader(model, weight_VD.detach(), has_bias)
