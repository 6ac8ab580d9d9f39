"""Tiny models with random weights, one for each task, of real classes with real tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = """
    the a an of to in is was not it this that you we they he she new old good bad red blue green house tree
    river city model server plugin question answer london paris berlin who where what lives works named my
""".split()  # noqa: SIM905  # a list of words reads best like this
TEXTS = [
    "the red house is in london",
    "a good model",
    "this is not a bad question, is it?",
    "she lives in the old city of paris near the river, and he works in berlin in the new house",
]
CHAT = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
LABELS = {0: "bad", 1: "good", 2: "unclear"}


def word_pieces() -> Any:
    """A tokenizer of words and of the letters of unknown ones, as BERT has it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!-'"
    vocabulary = [*special, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    numbered = {word: index for index, word in enumerate(dict.fromkeys(vocabulary))}
    made = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbered["[CLS]"]), ("[SEP]", numbered["[SEP]"])],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def byte_pairs(**more: Any) -> Any:
    """A tokenizer of pairs of bytes, as GPT-2 has it, trained on the texts here."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS * 4, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        model_input_names=["input_ids", "attention_mask"],
        **more,
    )


def sentence_pieces() -> Any:
    """A tokenizer for T5: words, an end, and padding."""
    made = byte_pairs(pad_token="<pad>")
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", made.eos_token_id)]
    )
    return made


def bert(**more: Any) -> Any:
    """The configuration of a tiny BERT."""
    return transformers.BertConfig(
        vocab_size=160,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        **more,
    )


def save(folder: Path, make: Callable[[], Any], tokenizer: Any = None, **extra: Any) -> Path:
    """Save a model with the same random weights each time, and what else goes into its folder."""
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        # Wide enough that answers differ.
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.6)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    for processor in extra.values():
        processor.save_pretrained(folder)
    return folder


def labels() -> dict[str, Any]:
    return {"id2label": LABELS, "label2id": {label: index for index, label in LABELS.items()}}


def classifier(folder: Path, **more: Any) -> Path:
    config = bert(**(labels() | more))
    return save(folder, lambda: transformers.BertForSequenceClassification(config), word_pieces())


def ranker(folder: Path) -> Path:
    return save(folder, lambda: transformers.BertForSequenceClassification(bert(num_labels=1)), word_pieces())


def entities(folder: Path) -> Path:
    names = {0: "O", 1: "B-PLACE", 2: "I-PLACE"}
    config = bert(id2label=names, label2id={name: index for index, name in names.items()})
    return save(folder, lambda: transformers.BertForTokenClassification(config), word_pieces())


def masked(folder: Path) -> Path:
    return save(folder, lambda: transformers.BertForMaskedLM(bert()), word_pieces())


def answering(folder: Path) -> Path:
    return save(folder, lambda: transformers.BertForQuestionAnswering(bert()), word_pieces())


def entailing(folder: Path) -> Path:
    names = {0: "contradiction", 1: "neutral", 2: "entailment"}
    config = bert(id2label=names, label2id={name: index for index, name in names.items()})
    return save(folder, lambda: transformers.BertForSequenceClassification(config), word_pieces())


def plain_encoder(folder: Path) -> Path:
    return save(folder, lambda: transformers.BertModel(bert()), word_pieces())


def endless(folder: Path) -> Path:
    """A writer with many positions, which never ends a text by itself."""
    made = writer(folder, positions=16384)
    config = json.loads((made / "generation_config.json").read_text())
    (made / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    return made


def writer(folder: Path, template: str | None = CHAT, positions: int = 64) -> Path:
    tokenizer = byte_pairs()
    tokenizer.chat_template = template
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return save(folder, lambda: transformers.GPT2LMHeadModel(config), tokenizer)


def sequence_to_sequence(folder: Path) -> Path:
    tokenizer = sentence_pieces()
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return save(folder, lambda: transformers.T5ForConditionalGeneration(config), tokenizer)


def vision(folder: Path) -> Path:
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        **labels(),
    )
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    return save(folder, lambda: transformers.ViTForImageClassification(config), processor=processor)


def hearing(folder: Path) -> Path:
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=(16, 16),
        conv_kernel=(8, 3),
        conv_stride=(4, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        **labels(),
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    return save(folder, lambda: transformers.Wav2Vec2ForSequenceClassification(config), processor=extractor)


MODELS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "classifier": ("text-classification", classifier),
    "ranker": ("text-ranking", ranker),
    "entities": ("token-classification", entities),
    "masked": ("fill-mask", masked),
    "answering": ("question-answering", answering),
    "entailing": ("zero-shot-classification", entailing),
    "encoder": ("feature-extraction", plain_encoder),
    "writer": ("text-generation", writer),
    "endless": ("text-generation", endless),
    "sequences": ("text2text-generation", sequence_to_sequence),
    "vision": ("image-classification", vision),
    "hearing": ("audio-classification", hearing),
}
"""For each tiny model the task that it is for, and what saves it."""
