"""Encoders that need nothing: coarse pixels of pictures, hashed pieces of words."""

import hashlib

import numpy as np

from panoglot.errors import RowError, UserError


class Pictures:
    name, fingerprint, batch_size, dim = "toy:pictures", "toy-pictures-1", 16, 48

    def encode_images(self, images):
        out = np.full((len(images), self.dim), np.nan, np.float32)
        for n, image in enumerate(images):
            try:
                out[n] = image.thumbnail(4).reshape(-1) / 255 + 0.01
            except RowError:
                continue
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def encode_texts(self, texts, langs=None):
        raise UserError("toy:pictures sees pictures only.")


class Words:
    name, fingerprint, batch_size, dim = "toy:words", "toy-words-1", 16, 64

    def encode_images(self, images):
        raise UserError("toy:words reads texts only.")

    def encode_texts(self, texts, langs=None):
        out = np.zeros((len(texts), self.dim), np.float32)
        for n, text in enumerate(texts):
            for k in range(len(text)):
                out[n, hashlib.md5(text[k : k + 3].encode()).digest()[0] % self.dim] += 1
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def pictures():
    return Pictures()


def words():
    return Words()
