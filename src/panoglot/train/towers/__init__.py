"""Towers and heads: what turns pictures and texts into vectors, boxes, captions.

An image tower returns (pooled [B, width], tokens [B, N, width]); a text tower (pooled [M, width], tokens [M, L, width])
and has `tokens`, its tokeniser, which counts what it cuts.
"""

from panoglot.train.towers._block import Attention, Block, causal_mask
from panoglot.train.towers._causal import CausalLm, OwnDecoder, Written, causal_lm, own_decoder
from panoglot.train.towers._char_gru import CharGru
from panoglot.train.towers._decoders import CaptionDecoder, ImageDecoder, QueryDecoder, Resampler
from panoglot.train.towers._hashed import HashedText, HashTokens
from panoglot.train.towers._heads import Blended, PrototypeHead, Residual, Reward, Scale, TokenMlp, unit
from panoglot.train.towers._hf import HfImage, HfText, timm_image
from panoglot.train.towers._open_clip import OpenClipImage, OpenClipText
from panoglot.train.towers._pieces import PICTURE, Pieces, pieces_of
from panoglot.train.towers._reading import Projector, grid_boxes
from panoglot.train.towers._seq2seq import OwnSeq2Seq, Seq2SeqLm, own_seq2seq, seq2seq_lm
from panoglot.train.towers._text import TextTransformer
from panoglot.train.towers._tokens import ByteTokens, CharTokens, pad_tokens
from panoglot.train.towers._visual_embedding import VisualEmbedding
from panoglot.train.towers._vit import Vit

__all__ = [
    "PICTURE",
    "Attention",
    "Blended",
    "Block",
    "ByteTokens",
    "CaptionDecoder",
    "CausalLm",
    "CharGru",
    "CharTokens",
    "HashTokens",
    "HashedText",
    "HfImage",
    "HfText",
    "ImageDecoder",
    "OpenClipImage",
    "OpenClipText",
    "OwnDecoder",
    "OwnSeq2Seq",
    "Pieces",
    "Projector",
    "PrototypeHead",
    "QueryDecoder",
    "Resampler",
    "Residual",
    "Reward",
    "Scale",
    "Seq2SeqLm",
    "TextTransformer",
    "TokenMlp",
    "VisualEmbedding",
    "Vit",
    "Written",
    "causal_lm",
    "causal_mask",
    "grid_boxes",
    "own_decoder",
    "own_seq2seq",
    "pad_tokens",
    "pieces_of",
    "seq2seq_lm",
    "timm_image",
    "unit",
]
