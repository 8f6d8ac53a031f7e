"""Formats that are written for one tool each, a file a format; `panoglot.formats` has those that are read too.

A module of this room has a class `Writer`: `Writer(folder, shard_size, *, …)`, whose keyword-only arguments are its
options. It may say `IMAGE`, the format of pictures that its tool wants, and `RATINGS`, that it reads comparisons of
captions. `add` may return a reason: the picture was left out for it, and is counted.
"""
