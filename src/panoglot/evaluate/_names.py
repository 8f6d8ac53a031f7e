"""The commands of `panoglot evaluate`, readable without importing what they need; what they run is declared."""

from __future__ import annotations

__all__ = ["COMMANDS", "POSITIONAL", "listing"]

#: Command of `panoglot evaluate` to (function of `_commands`, help line).
COMMANDS = {
    "captions": ("captions", "Score captions with metrics that need no Java, in any language."),
    "retrieval": ("retrieval", "Recall of pictures by text and back, for every language."),
    "zeroshot": ("zeroshot", "Zero-shot classification in many languages."),
    "choice": ("choice", "Questions about pictures: MVL-SIB, MMMB, POPE, CoMMuTE, SMPQA."),
    "composed": ("composed", "Picture and text together: CIRCO, CIRR, FashionIQ, GeneCIS; an encoder's, or rankings."),
    "generation": ("generation", "Judge generated pictures: GenEval, DPG, consistency across languages."),
    "mteb": ("mteb", "Run tasks of the mteb package, texts or pictures, on any encoder."),
    "make-smpqa": ("make_smpqa", "Draw charts with words of many languages, and questions about them."),
    "make-babel-imagenet": (
        "make_babel_imagenet",
        "Class names out of BabelNet's senses, or templates by a translator.",
    ),
    "arena": ("arena", "Rate models from votes: Elo, Bradley-Terry, win minus loss."),
    "agreement": ("agreement", "How well metrics agree with people."),
    "standings": ("standings", "Rank models over tasks and languages: means and Borda points."),
    "select-tasks": ("select_tasks", "Leave out tasks whose scores the others predict (MMTEB)."),
    "downsample": ("downsample", "Make a retrieval task smaller without changing who is best (MMTEB)."),
}
#: Commands that run benchmarks, and what stands on their lines without a name.
POSITIONAL = {
    "captions": ("preds", "refs"),
    "retrieval": ("source",),
    "zeroshot": ("images",),
    "choice": ("data",),
    "composed": ("rankings",),
    "generation": ("images",),
    "agreement": ("metric", "human"),
}


def listing() -> str:
    """Every metric and every benchmark, a line each: ours, and those of other packages.

    >>> "capture" in listing() and "babel-imagenet" in listing()
    True
    """
    from panoglot.evaluate._declare import benchmark_names, find_benchmark
    from panoglot.metrics._declare import find_metric, metric_names

    metrics, names = metric_names(), list(benchmark_names())
    wide = max(map(len, [*metrics, *(name for _, name in names)]))
    lines = ["Metrics: panoglot evaluate captions PREDS --metrics NAME,NAME"]
    lines += [f"  {name:<{wide}}  {find_metric(name).about}" for name in metrics]
    for command in POSITIONAL:
        mine = [name for verb, name in names if verb == command]
        if mine:
            lines += ["", f"Benchmarks: panoglot evaluate {command} --benchmark NAME"]
            lines += [f"  {name:<{wide}}  {find_benchmark(command, name).about}" for name in mine]
    lines += ["", "The files of each, and where they are: docs/metrics.md. Options: panoglot evaluate COMMAND --help."]
    return "\n".join(lines)
