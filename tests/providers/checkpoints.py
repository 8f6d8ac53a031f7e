"""Builders of tiny random checkpoints on disk: the real architectures and file layouts, weights of a few hundred kB.

Each takes an empty folder and fills it the way a hub repository is filled. Weights are drawn wide enough that pictures
and earlier tokens visibly change the answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

LINES = [
    "a red kangaroo jumps over the fence and looks at the camera",
    "ein rotes Känguru springt über den Zaun",
    "قطة سوداء تنام على الكرسي",
    "एक लाल पक्षी पेड़ पर बैठा है",
    "แมวสีดำนอนอยู่บนเก้าอี้",
    "一只红色的袋鼠跳过栅栏",
    "赤いカンガルーが柵を飛び越える",
    "paka mweusi amelala juu ya kiti",
    '{"name": "cat", "count": 2, "colours": ["red", "black"]}',
    "Describe the picture. What is it? A cat, a dog, two cups of coffee on a table.",
]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}{% if m['content'][0]['type'] == 'image' %}:"
    "{% else %}: {% endif %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}"
    "{% elif c['type'] == 'image' %}<image>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHATML


def tokenizer(
    special: dict[str, str], extra: list[str] | None = None, template: str | None = None, **options: Any
) -> Any:
    """Train a byte-level BPE tokenizer on a few lines in ten languages."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    names = list(dict.fromkeys([*special.values(), *(extra or [])]))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, special_tokens=names, initial_alphabet=alphabet))
    if "cls_token" in special:
        cls, sep = special["cls_token"], special["sep_token"]
        ids = [(token, raw.token_to_id(token)) for token in (cls, sep)]
        raw.post_processor = processors.TemplateProcessing(single=f"{cls} $A {sep}", special_tokens=ids)
    elif options.pop("ends", False):
        bos, eos = special["bos_token"], special["eos_token"]
        ids = [(token, raw.token_to_id(token)) for token in (bos, eos)]
        raw.post_processor = processors.TemplateProcessing(single=f"{bos} $A {eos}", special_tokens=ids)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw, extra_special_tokens=extra or [], clean_up_tokenization_spaces=False, **special, **options
    )
    if template:
        fast.chat_template = template
    return fast


def randomise(model: Any, seed: int = 0, scale: float = 0.2) -> Any:
    """Draw all weights anew, wide; normalisation stays neutral."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=draw) * scale)
            elif "logit" not in name and weight.dim() == 1 and name.endswith("bias"):
                weight.copy_(torch.randn(weight.shape, generator=draw) * 0.02)
    return model.eval()


TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TOWER = {**TEXT, "image_size": 32, "patch_size": 8}
CHAT = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
BERT = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}


def llm(folder: Path, template: str | None = CHATML, seed: int = 0, **config: Any) -> Path:
    """A Llama that chats, or (`template=None`) a base model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer(CHAT, ["<|im_start|>"], template)
    settings = {"max_position_embeddings": 512, "num_key_value_heads": 2, **config}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words), bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, **TEXT, **settings
        )
    )
    randomise(model, seed).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def gpt2(folder: Path) -> Path:
    """A base model with learned absolute positions, which padding on the left would shift."""
    from transformers import GPT2Config, GPT2LMHeadModel

    words = tokenizer(CHAT)
    config = GPT2Config(
        vocab_size=len(words), n_embd=32, n_layer=2, n_head=4, n_positions=128, eos_token_id=words.eos_token_id
    )
    randomise(GPT2LMHeadModel(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def t5(folder: Path) -> Path:
    """A text encoder-decoder."""
    from transformers import T5Config, T5ForConditionalGeneration

    words = tokenizer({"eos_token": "</s>", "pad_token": "<pad>"})
    config = T5Config(
        vocab_size=len(words),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=words.pad_token_id,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
    )
    randomise(T5ForConditionalGeneration(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    """BLIP captioning."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    words = tokenizer(BERT, ["[DEC]"])
    bos = words.convert_tokens_to_ids("[DEC]")
    text = {
        **TEXT,
        "vocab_size": len(words),
        "encoder_hidden_size": 32,
        "projection_dim": 32,
        "max_position_embeddings": 64,
        "bos_token_id": bos,
        "pad_token_id": words.pad_token_id,
        "sep_token_id": words.sep_token_id,
        "eos_token_id": words.sep_token_id,
    }
    config = BlipConfig(text_config=text, vision_config=TOWER, projection_dim=32)
    randomise(BlipForConditionalGeneration(config)).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), words).save_pretrained(folder)
    return folder


def git(folder: Path) -> Path:
    """GIT captioning."""
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

    words = tokenizer(BERT)
    config = GitConfig(
        vision_config=TOWER,
        vocab_size=len(words),
        max_position_embeddings=64,
        bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id,
        pad_token_id=words.pad_token_id,
        **TEXT,
    )
    randomise(GitForCausalLM(config)).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    GitProcessor(pictures, words).save_pretrained(folder)
    return folder


def vit_gpt2(folder: Path) -> Path:
    """A vision-encoder-decoder captioner."""
    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessorPil,
    )

    words = tokenizer(CHAT)
    decoder = GPT2Config(
        vocab_size=len(words),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        add_cross_attention=True,
        is_decoder=True,
        eos_token_id=words.eos_token_id,
        bos_token_id=words.bos_token_id,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**TOWER), decoder)
    config.decoder_start_token_id, config.pad_token_id = words.bos_token_id, words.pad_token_id
    config.eos_token_id = words.eos_token_id
    model = VisionEncoderDecoderModel(config)
    model.generation_config.decoder_start_token_id = words.bos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.generation_config.num_beams = 4  # as the well-known checkpoint says; greedy must win
    randomise(model).save_pretrained(folder)
    words.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def qwen2_5_vl(folder: Path) -> Path:
    """Qwen2.5-VL, with the sampling settings that its checkpoints ship."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    extra = ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    words = tokenizer(CHAT, extra, CHATML)
    at = words.convert_tokens_to_ids
    text = {
        **TEXT,
        "vocab_size": len(words),
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": 32,
        "patch_size": 14,
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=at("<|image_pad|>"),
        video_token_id=at("<|video_pad|>"),
        vision_start_token_id=at("<|vision_start|>"),
        vision_end_token_id=at("<|vision_end|>"),
    )
    model = randomise(Qwen2_5_VLForConditionalGeneration(config))
    model.generation_config.update(do_sample=True, temperature=0.1, top_k=1, repetition_penalty=1.05)
    model.generation_config.eos_token_id = [words.eos_token_id, words.bos_token_id]
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    # hub checkpoints have no list of parts, only this class name beside the image settings
    Qwen2VLImageProcessorPil(
        size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 9}, processor_class="Qwen2_5_VLProcessor"
    ).save_pretrained(folder)
    return folder


def _idefics(folder: Path, names: tuple[str, str, str]) -> Path:
    import json

    import transformers

    config_class, model_class, image_class = (getattr(transformers, name) for name in names)
    special = {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<pad>"}
    extra = ["<fake_token_around_image>", "<image>", "<global-img>", "<video>"]
    extra += [f"<row_{row}_col_{col}>" for row in range(1, 5) for col in range(1, 5)]
    words = tokenizer(special, extra, IDEFICS)
    text = {
        **TEXT,
        "model_type": "llama",
        "vocab_size": len(words),
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    config = config_class(
        text_config=text,
        vision_config={**TOWER, "image_size": 32},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
    )
    randomise(model_class(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    image_class(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}).save_pretrained(folder)
    processor = model_class.__name__.replace("ForConditionalGeneration", "Processor")
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": processor, "image_seq_len": 4}))
    return folder


def smolvlm(folder: Path) -> Path:
    """SmolVLM."""
    return _idefics(folder, ("SmolVLMConfig", "SmolVLMForConditionalGeneration", "SmolVLMImageProcessorPil"))


def idefics3(folder: Path) -> Path:
    """Idefics3."""
    return _idefics(folder, ("Idefics3Config", "Idefics3ForConditionalGeneration", "Idefics3ImageProcessorPil"))


def llava(folder: Path) -> Path:
    """LLaVA."""
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    template = CHATML.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>\n")
    words = tokenizer(CHAT, ["<|im_start|>", "<image>"], template)
    text = {
        **TEXT,
        "model_type": "llama",
        "vocab_size": len(words),
        "max_position_embeddings": 512,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    config = LlavaConfig(
        text_config=text,
        vision_config={**TOWER, "model_type": "clip_vision_model"},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    randomise(LlavaForConditionalGeneration(config)).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        pictures,
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def clip(folder: Path, seed: int = 0) -> Path:
    """CLIP."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    words = tokenizer(special, ends=True, model_max_length=24)
    text = {
        **TEXT,
        "vocab_size": len(words),
        "max_position_embeddings": 24,
        "projection_dim": 16,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    config = CLIPConfig(text_config=text, vision_config={**TOWER, "projection_dim": 16}, projection_dim=16)
    randomise(CLIPModel(config), seed).save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, processor_class="CLIPProcessor"
    ).save_pretrained(folder)
    return folder


def _siglip(folder: Path, version: str) -> Path:
    import transformers

    words = tokenizer(
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"},
        ends=True,
        model_input_names=["input_ids"],
    )
    text = {
        **TEXT,
        "vocab_size": len(words),
        "max_position_embeddings": 16,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "projection_size": 32,
    }
    vision = {**TOWER} if version == "Siglip" else {**TEXT, "patch_size": 8, "num_patches": 16}
    config = getattr(transformers, f"{version}Config")(text_config=text, vision_config=vision)
    randomise(getattr(transformers, f"{version}Model")(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    size = {"size": {"height": 32, "width": 32}} if version == "Siglip" else {"patch_size": 8, "max_num_patches": 16}
    getattr(transformers, f"{version}ImageProcessorPil")(**size, processor_class=f"{version}Processor").save_pretrained(
        folder
    )
    return folder


def siglip(folder: Path) -> Path:
    """SigLIP."""
    return _siglip(folder, "Siglip")


def siglip2(folder: Path) -> Path:
    """SigLIP 2 with pictures in their own aspect (NaFlex)."""
    return _siglip(folder, "Siglip2")


def chinese_clip(folder: Path) -> Path:
    """Chinese-CLIP."""
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessorPil, ChineseCLIPModel

    words = tokenizer(BERT, model_max_length=24)
    text = {**TEXT, "vocab_size": len(words), "max_position_embeddings": 24, "pad_token_id": words.pad_token_id}
    config = ChineseCLIPConfig(text_config=text, vision_config={**TOWER, "projection_dim": 16}, projection_dim=16)
    randomise(ChineseCLIPModel(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    ChineseCLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, processor_class="ChineseCLIPProcessor"
    ).save_pretrained(folder)
    return folder


def blip_itm(folder: Path) -> Path:
    """BLIP for retrieval, with its matching head."""
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessorPil, BlipProcessor

    words = tokenizer(BERT, ["[DEC]"])
    text = {
        **TEXT,
        "vocab_size": len(words),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "bos_token_id": words.convert_tokens_to_ids("[DEC]"),
        "pad_token_id": words.pad_token_id,
        "sep_token_id": words.sep_token_id,
        "eos_token_id": words.sep_token_id,
    }
    config = BlipConfig(text_config=text, vision_config=TOWER, image_text_hidden_size=16)
    randomise(BlipForImageTextRetrieval(config)).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), words).save_pretrained(folder)
    return folder


def blip2_itm(folder: Path) -> Path:
    """BLIP-2 for retrieval, with its matching head."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval, Blip2Processor, BlipImageProcessorPil

    words = tokenizer(BERT, ["<image>"])
    reads = {**TEXT, "vocab_size": len(words), "encoder_hidden_size": 32, "max_position_embeddings": 64}
    config = Blip2Config(
        vision_config=TOWER,
        qformer_config={**reads, "use_qformer_text_input": True, "cross_attention_frequency": 1},
        text_config={"model_type": "opt", "vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 1},
        num_query_tokens=4,
        image_text_hidden_size=16,
    )
    randomise(Blip2ForImageTextRetrieval(config)).save_pretrained(folder)
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    Blip2Processor(images, words, num_query_tokens=4).save_pretrained(folder)
    return folder
