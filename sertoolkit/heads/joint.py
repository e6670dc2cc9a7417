"""Transcript and emotion from one pass of the recogniser's encoder, both trained together.

What Lakomkin et al. 2017, section 5, name as future work: to transcribe and label emotion jointly, as a dialogue system
needs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sertoolkit.encoders.ctc import token_log_probs
from sertoolkit.errors import ConfigError
from sertoolkit.heads.unfreeze import Unfreeze, UnfreezeConfig


@dataclass(frozen=True)
class JointConfig(UnfreezeConfig):
    """Settings of `joint`: those of `unfreeze` and the weight of recognition.

    Args:
        ctc_weight: factor of the CTC loss beside the cross-entropy of emotion. The CTC loss is that of an utterance
            divided by the number of its tokens (nats a token), averaged over utterances as the cross-entropy is (nats an
            utterance): what else is in a batch, and how long its texts are, changes no utterance's share. The default
            keeps emotion the main task: four classes begin at 1.4 nats an utterance, and an English recogniser on EmoDB's
            German at 4 nats a token; it was not searched. 0 is `unfreeze`

    """

    ctc_weight: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ctc_weight >= 0:
            raise ConfigError(f"joint: ctc_weight is {self.ctc_weight}, expected at least 0")


class Joint(Unfreeze):
    """Encoder -> layer x -> mean over time -> dropout -> classes; encoder -> top layer -> tokens, by CTC.

    As :class:`Unfreeze`, but the layers above x stay, and so does the recogniser's output layer. Layer x is released
    with all that stands above it, the output layer included: once layer x moves, they must follow to read it.

    Args:
        config: settings
        output: the recogniser's layer from its top layer to tokens; is copied
        inputs: as :class:`Unfreeze` has them

    """

    Config = JointConfig
    needs = frozenset({"encoder", "text"})
    whole = True

    def __init__(self, config: JointConfig, *, output: nn.Linear, **inputs: Any) -> None:
        super().__init__(config, **inputs)
        self.ctc = copy.deepcopy(output).requires_grad_(False)
        self.release_order[0] += list(self.ctc.parameters())

    def listen(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Emotion and tokens by one pass of the encoder; the arguments are those of `forward`.

        Returns:
            logits of the classes (B, num_classes), log probabilities of the tokens (B, T', V), their valid frames (B,)

        """
        outputs, lengths = self.encoder(layers[0], lengths)
        logits = self.output(self.dropout(self.pool(outputs, lengths)))
        return logits, token_log_probs(self.ctc(outputs[-1])), lengths
