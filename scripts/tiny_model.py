"""Makes a language model with random weights, to try how models are served. Nothing is downloaded; what it writes makes no sense.

    python -m scripts.tiny_model FOLDER [--hidden 256] [--layers 2] [--context 32768]

A Llama and a byte-level BPE tokenizer, trained on this repository's own text so that prompts have about as many tokens as with a real one.
Wants transformers and tokenizers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

_VOCABULARY = 16_384
_BEGIN, _END = "<|begin|>", "<|end|>"
_TEMPLATE = (
    "{% for message in messages %}"
    "<|begin|>{{ message.role }}\n{{ message.content or '' }}<|end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"
)
_SEED = 1


def texts(root: Path) -> Iterator[str]:
    """Of the repository, in an order that does not change."""
    for pattern in ("*/**/*.py", "docs/*.md", "*/**/*.j2"):
        for path in sorted(root.glob(pattern)):
            yield path.read_text(errors="replace")


def make(folder: Path, hidden: int, layers: int, context: int) -> None:
    """Write model and tokenizer there."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[_BEGIN, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(Path(__file__).parent.parent), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=_END, pad_token=_END, model_max_length=context, chat_template=_TEMPLATE
    )
    fast.save_pretrained(folder)
    torch.manual_seed(_SEED)
    end = fast.convert_tokens_to_ids(_END)
    shape = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 128),
        max_position_embeddings=context,
        bos_token_id=fast.convert_tokens_to_ids(_BEGIN),
        eos_token_id=end,
        pad_token_id=end,
        dtype="bfloat16",
    )
    LlamaForCausalLM(shape).to(torch.bfloat16).save_pretrained(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--context", type=int, default=32_768)
    options = parser.parse_args()
    if options.hidden % 128:
        parser.error("--hidden must be a multiple of 128")
    make(options.folder, options.hidden, options.layers, options.context)
    print(f"a model with random weights in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
