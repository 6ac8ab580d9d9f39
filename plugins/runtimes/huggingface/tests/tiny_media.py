"""Tiny models with random weights for tasks with images, films, sounds, tables and decisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as library

from tiny_models import byte_pairs, labels, save, word_pieces, writer

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def processor(name: str, **more: Any) -> Any:
    """An image processor, of the implementation that needs no torchvision."""
    made = getattr(library, f"{name}Pil", None) or getattr(library, name)
    return made(**more)


def square(size: int) -> dict[str, int]:
    return {"height": size, "width": size}


def picture_texts(length: int) -> Any:
    return byte_pairs(pad_token="<|endoftext|>", model_max_length=length)


def of_class(tokenizer: Any, name: str) -> Any:
    """The same tokenizer, of the only class that a processor of transformers 4 takes."""
    if not library.__version__.startswith("4."):
        return tokenizer
    return getattr(library, name)(tokenizer_object=tokenizer.backend_tokenizer, model_max_length=64)


def detecting(folder: Path) -> Path:
    config = library.YolosConfig(
        **SMALL, **labels(), image_size=[64, 64], patch_size=16, num_detection_tokens=6
    )
    made = processor("YolosImageProcessor", size=square(64), do_pad=False)
    return save(folder, lambda: library.YolosForObjectDetection(config), processor=made)


STAGES = {
    "num_encoder_blocks": 2,
    "depths": [1, 1],
    "sr_ratios": [2, 1],
    "hidden_sizes": [16, 16],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "decoder_hidden_size": 16,
}


def segmenting(folder: Path) -> Path:
    config = library.SegformerConfig(**STAGES, **labels())
    made = processor("SegformerImageProcessor", size=square(64))
    return save(folder, lambda: library.SegformerForSemanticSegmentation(config), processor=made)


def deep(folder: Path) -> Path:
    config = library.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        is_hybrid=False,
        reassemble_factors=[1, 1, 1, 0.5],
    )
    made = processor("DPTImageProcessor", size=square(64))
    return save(folder, lambda: library.DPTForDepthEstimation(config), processor=made)


def masking(folder: Path) -> Path:
    config = library.SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
            "mlp_dim": 48,
            "window_size": 2,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    made = processor("SamImageProcessor", size={"longest_edge": 64}, pad_size=square(64))
    return save(folder, lambda: library.SamModel(config), processor=library.SamProcessor(made))


def text_side(tokenizer: Any, positions: int) -> dict[str, Any]:
    return {
        **SMALL,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": positions,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": 0,
        "pad_token_id": 0,
    }


def comparing(folder: Path) -> Path:
    tokenizer = picture_texts(32)
    config = library.CLIPConfig(
        text_config=text_side(tokenizer, 32),
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    made = processor("CLIPImageProcessor", size={"shortest_edge": 32}, crop_size=square(32))
    return save(folder, lambda: library.CLIPModel(config), tokenizer, processor=made)


def finding(folder: Path) -> Path:
    tokenizer = picture_texts(16)
    config = library.OwlViTConfig(
        text_config=text_side(tokenizer, 16),
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=32,
    )
    made = processor("OwlViTImageProcessor", size=square(32), crop_size=square(32), do_center_crop=False)
    return save(folder, lambda: library.OwlViTForObjectDetection(config), tokenizer, processor=made)


def documents(folder: Path) -> Path:
    config = library.LayoutLMConfig(**SMALL, vocab_size=160, max_position_embeddings=64)
    return save(folder, lambda: library.LayoutLMForQuestionAnswering(config), word_pieces())


def seeing(folder: Path) -> Path:
    tokenizer = picture_texts(128)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = library.LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            **SMALL,
            "image_size": 32,
            "patch_size": 16,
            "projection_dim": 16,
        },
        text_config={"model_type": "llama", **text_side(tokenizer, 128), "num_key_value_heads": 4},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    made = library.LlavaProcessor(
        processor("CLIPImageProcessor", size={"shortest_edge": 32}, crop_size=square(32)),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return save(folder, lambda: library.LlavaForConditionalGeneration(config), processor=made)


def spoken(folder: Path) -> Path:
    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmno"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    config = library.Wav2Vec2Config(
        **SMALL,
        vocab_size=len(letters),
        conv_dim=(16, 16),
        conv_kernel=(8, 3),
        conv_stride=(4, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        pad_token_id=0,
    )
    tokenizer = library.Wav2Vec2CTCTokenizer(str(vocabulary))
    extractor = library.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    return save(folder, lambda: library.Wav2Vec2ForCTC(config), tokenizer, processor=extractor)


def listening(folder: Path) -> Path:
    tokenizer = picture_texts(32)
    tokenizer = of_class(tokenizer, "RobertaTokenizerFast")
    config = library.ClapConfig(
        text_config={
            **SMALL,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "projection_dim": 16,
        },
        audio_config={
            "hidden_size": 32,
            "num_mel_bins": 64,
            "window_size": 4,
            "spec_size": 64,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "patch_embeds_hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "projection_dim": 16,
            "enable_fusion": False,
        },
        projection_dim=16,
    )
    extractor = library.ClapFeatureExtractor(
        max_length_s=1, truncation="rand_trunc", padding="repeatpad", sampling_rate=16000
    )
    made = library.ClapProcessor(extractor, tokenizer)
    return save(folder, lambda: library.ClapModel(config), processor=made)


def speaking(folder: Path) -> Path:
    folder.mkdir()
    letters = ["_", "<unk>", *" abcdefghijklmnopqrstuvwxyz'"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    tokenizer = library.VitsTokenizer(
        str(vocabulary), phonemize=False, is_uroman=False, pad_token="_", unk_token="<unk>"
    )
    config = library.VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        window_size=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        depth_separable_channels=2,
        depth_separable_num_layers=1,
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        use_stochastic_duration_prediction=False,
        noise_scale=0.0,
        noise_scale_duration=0.0,
        sampling_rate=8000,
    )
    torch.manual_seed(0)
    library.VitsModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tables(folder: Path) -> Path:
    folder.mkdir()
    known = sorted(word_pieces().get_vocab().items(), key=lambda item: item[1])
    words = [word for word, _ in known] + ["[EMPTY]"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = library.TapasTokenizer(str(folder / "vocab.txt"), model_max_length=64)
    config = library.TapasConfig(
        **SMALL,
        vocab_size=len(words),
        max_position_embeddings=64,
        type_vocab_sizes=[3, 32, 32, 32, 32, 32, 32],
        num_aggregation_labels=4,
        aggregation_labels={0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
    )
    return save(folder, lambda: library.TapasForQuestionAnswering(config), tokenizer)


def deciding(folder: Path) -> Path:
    """A writer whose options are letters, each of which is a token of it."""
    writer(folder, positions=1024)
    options = {"labels": {"noul": ["y", "n"], "choice": ["a", "b", "c"], "score": ["a", "b", "c"]}}
    (folder / "decision.json").write_text(json.dumps(options))
    return folder


def matching(folder: Path) -> Path:
    points = library.SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 8, 16],
        decoder_hidden_size=16,
        descriptor_decoder_dim=16,
        keypoint_threshold=0.0,
        max_keypoints=12,
        nms_radius=2,
    )
    config = library.SuperGlueConfig(
        keypoint_detector_config=points,
        hidden_size=16,
        keypoint_encoder_sizes=[8, 16],
        gnn_layers_types=["self", "cross"],
        num_attention_heads=2,
        sinkhorn_iterations=5,
    )
    made = processor("SuperGlueImageProcessor", size=square(64))
    return save(folder, lambda: library.SuperGlueForKeypointMatching(config), processor=made)


def watching(folder: Path) -> Path:
    config = library.VideoMAEConfig(
        **SMALL, **labels(), image_size=32, patch_size=16, num_frames=4, tubelet_size=2
    )
    made = processor("VideoMAEImageProcessor", size={"shortest_edge": 32}, crop_size=square(32))
    return save(folder, lambda: library.VideoMAEForVideoClassification(config), processor=made)


def asking(folder: Path) -> Path:
    config = library.ViltConfig(
        **SMALL,
        **labels(),
        vocab_size=160,
        max_position_embeddings=64,
        image_size=64,
        patch_size=16,
        max_image_length=-1,
    )
    images = processor("ViltImageProcessor", size={"shortest_edge": 64}, size_divisor=32)
    made = library.ViltProcessor(images, of_class(word_pieces(), "BertTokenizerFast"))
    return save(folder, lambda: library.ViltForQuestionAnswering(config), processor=made)


def enlarging(folder: Path) -> Path:
    config = library.Swin2SRConfig(
        image_size=32,
        patch_size=1,
        embed_dim=16,
        depths=[1],
        num_heads=[2],
        window_size=8,
        upscale=2,
        mlp_ratio=2.0,
    )
    made = processor("Swin2SRImageProcessor")
    return save(folder, lambda: library.Swin2SRForImageSuperResolution(config), processor=made)


def captioning(folder: Path) -> Path:
    tokenizer = picture_texts(64)
    seen = library.ViTConfig(**SMALL, image_size=32, patch_size=8)
    told = library.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    config = library.VisionEncoderDecoderConfig.from_encoder_decoder_configs(seen, told)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 5, 0, 0
    made = processor("ViTImageProcessor", size=square(32))
    return save(folder, lambda: library.VisionEncoderDecoderModel(config=config), tokenizer, processor=made)


def hearing_and_writing(folder: Path) -> Path:
    tokenizer = picture_texts(256)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]}
    )
    config = library.Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 16,
            "max_source_positions": 50,
        },
        text_config={"model_type": "qwen2", **text_side(tokenizer, 256), "num_key_value_heads": 4},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    extractor = library.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    made = library.Qwen2AudioProcessor(extractor, tokenizer)
    return save(folder, lambda: library.Qwen2AudioForConditionalGeneration(config), processor=made)


MEDIA_MODELS: dict[str, Callable[[Path], Path]] = {
    "object-detection": detecting,
    "image-segmentation": segmenting,
    "depth-estimation": deep,
    "mask-generation": masking,
    "zero-shot-image-classification": comparing,
    "zero-shot-object-detection": finding,
    "document-question-answering": documents,
    "image-text-to-text": seeing,
    "automatic-speech-recognition": spoken,
    "zero-shot-audio-classification": listening,
    "text-to-audio": speaking,
    "table-question-answering": tables,
    "decision": deciding,
    "keypoint-matching": matching,
    "video-classification": watching,
    "visual-question-answering": asking,
    "image-to-image": enlarging,
    "image-to-text": captioning,
    "any-to-any": hearing_and_writing,
}
"""For each task what saves a tiny model."""
