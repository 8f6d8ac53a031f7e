"""What `panoglot evaluate` can do: its commands, metrics and benchmarks, readable without importing what they need."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BENCHMARKS", "COMMANDS", "METRICS", "Benchmark", "Metric", "listing"]

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
    "arena": ("arena", "Rate models from votes: Elo, Bradley-Terry, win minus loss."),
    "agreement": ("agreement", "How well metrics agree with people."),
    "standings": ("standings", "Rank models over tasks and languages: means and Borda points."),
}


class Metric(NamedTuple):
    """A line of the list of metrics.

    Attributes:
        function: of `panoglot.evaluate`.
        needs: what it takes beside the captions: refs, images, encoder, parser, objects.
        about: what it is.
        languages: which.
        source: where it was defined.
        parity: how close it is to the reference program, measured.
        tokens: it counts tokens, so that `tokenizer` matters.
    """

    function: str
    needs: str
    about: str
    languages: str
    source: str
    parity: str = ""
    tokens: bool = False


_SAME = "equal to pycocoevalcap to 1e-9 on equal tokens"
#: Metric of `panoglot evaluate captions --metrics` to what is known of it.
METRICS = {
    "bleu": Metric(
        "bleu", "refs", "BLEU-1..4 of the corpus, as the COCO tools count and smooth",
        "all", "Papineni et al., ACL 2002", _SAME, True,
    ),
    **{
        f"bleu-{n}": Metric(
            "bleu", "refs", f"BLEU-{n} of the corpus", "all", "Papineni et al., ACL 2002", _SAME, True
        )
        for n in (1, 2, 3, 4)
    },
    "rouge-l": Metric(
        "rouge_l", "refs", "longest common subsequence, best precision and recall over the references, beta 1.2",
        "all", "Lin, 2004", _SAME, True,
    ),
    "cider": Metric(
        "cider", "refs", "CIDEr-D: tf-idf weighted n-grams, clipped, with a length penalty (0 to 10)",
        "all", "Vedantam et al., CVPR 2015", _SAME, True,
    ),
    "meteor-like": Metric(
        "meteor_exact_stem_synonym", "refs",
        "METEOR 1.5 with exact words, stems and synonyms; with paraphrases where PANOGLOT_METEOR names its jar",
        "all; stems in 32, synonyms and paraphrases in English", "Denkowski and Lavie, WMT 2014",
        "with its jar and paraphrase table equal to the Java program to 1e-9; see docs/evaluate.md", True,
    ),
    "chrf": Metric(
        "chrf", "refs", "F-score of character n-grams (0 to 100), of the corpus", "all", "Popović, WMT 2015",
        "sacrebleu",
    ),
    "spice": Metric(
        "spice", "refs parser", "F-score of objects, attributes and relations as tuples",
        "those of the parser (default: English)", "Anderson et al., ECCV 2016",
        "hand-worked cases only: the original's parser cannot be had",
    ),
    "capture": Metric(
        "capture", "refs parser encoder",
        "objects, attributes, relations of long captions: exact, synonym, then soft matches (with --encoder)",
        "those of the parser (default: English)", "Dong et al., 2024 (arXiv 2405.19092)",
        "hand-worked cases; scores of the released matching code",
    ),
    "clipscore": Metric(
        "clipscore", "images encoder", "2.5 max(0, cosine) of picture and caption", "those of the encoder",
        "Hessel et al., EMNLP 2021", "definition",
    ),
    "refclipscore": Metric(
        "clipscore", "refs images encoder", "harmonic mean of CLIPScore and the best cosine with a reference",
        "those of the encoder", "Hessel et al., EMNLP 2021", "definition",
    ),
    "self-retrieval": Metric(
        "self_retrieval", "images encoder",
        "recall@1 of each caption's own picture among up to 100 others, in percent (RD100)", "those of the encoder",
        "Gaur et al., TMLR 2024", "definition; ties are shared",
    ),
    "chair": Metric(
        "chair", "objects", "share of captions that name a thing that is not in the picture (CHAIR-s), and CHAIR-i",
        "English; others with --vocabulary", "Rohrbach et al., EMNLP 2018",
        "definition; our own synonyms of the 80 classes, or the paper's protocol with its list as --vocabulary", True,
    ),
    "distinct-n": Metric(
        "distinct_n", "", "distinct n-grams over all n-grams", "all", "Li et al., NAACL 2016", "definition", True
    ),
    "self-bleu": Metric(
        "self_bleu", "", "BLEU of each caption against the others: high is repetitive", "all",
        "Zhu et al., SIGIR 2018", "definition", True,
    ),
    "length": Metric("caption_length", "", "tokens a caption", "all", "", "definition", True),
    "readability": Metric(
        "readability", "", "LIX; Flesch reading ease beside it for English", "those that write spaces",
        "Björnsson, 1968", "definition",
    ),
}  # fmt: skip


class Benchmark(NamedTuple):
    """A line of the list of benchmarks.

    Attributes:
        command: of `panoglot evaluate`.
        about: what it measures, by which metric.
        files: what the command expects.
        source: where the files are; nothing is downloaded.
        options: options of the command that it reads; another one is refused.
    """

    command: str
    about: str
    files: str
    source: str
    options: str


#: Benchmark of `--benchmark` to what is known of it.
BENCHMARKS = {
    "detailcaps": Benchmark(
        "captions", "CAPTURE of long captions against three references (4,870 or 100 pictures)",
        "--data: its parquet file, or JSONL (`image, GT_Caption_…`)",
        "huggingface.co/datasets/foundation-multimodal-models/DetailCaps-4870",
        "data model lang encoder parser on_error confidence cache",
    ),
    "decapbench": Benchmark(
        "captions", "DCScore: facts of a caption matched and verified by --judge (400 pictures)",
        "--data: `eval_human_annotated_oracle_facts.jsonl`; --images: ImageInWords' IIW-400",
        "github.com/MAGAer13/DeCapBench",
        "data images judge model lang on_error confidence cache prices max_cost",
    ),
    "truematch": Benchmark(
        "captions", "self-retrieval in bags of 3, 5 and 7 look-alikes",
        "--data: folder of `3.json`, `5.json`, `7.json`; --images; --encoder",
        "huggingface.co/datasets/manu-gaur/NDLB-TrueMatch-Benchmark",
        "data images encoder model lang confidence cache",
    ),
    "finecapeval": Benchmark(
        "captions", "coverage of people's background, object and relation phrases, and CIDEr (1,000 pictures)",
        "--data: `FineCapEval.csv`", "github.com/j-min/CLIP-Caption-Reward",
        "data model lang tokenizer on_error confidence",
    ),
    "caparena-auto": Benchmark(
        "captions", "--judge compares with three fixed captioners in both orders (600 pictures)",
        "--data: `caparena_auto_600.json`; --images; or captions that come with a judge's verdicts (`judge`)",
        "github.com/njucckevin/CapArena",
        "data images judge model cache prices max_cost",
    ),
    "dense-captions": Benchmark(
        "captions", "dense-captioning mAP over overlaps and METEOR, and METEOR at 0.5 IoU",
        "captions and --data: rows of `image_id, box, caption[, score]`, boxes as x0, y0, x1, y1",
        "Visual Genome, Pix2Cap-COCO, your own",
        "data lang tokenizer confidence",
    ),
    "xtd10": Benchmark(
        "retrieval", "recall of 1,000 COCO pictures in 11 languages",
        "--data: folder of `test_1kcaptions_<lang>.txt`; --images",
        "github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10",
        "data images encoder lang metrics ties on_error confidence cache",
    ),
    "xtd": Benchmark(
        "retrieval", "the same as one JSON file", "--data: `xtd.json`; --images", "github.com/gregor-ge/Babel-ImageNet",
        "data images encoder lang metrics ties on_error confidence cache",
    ),
    "xflickrco": Benchmark(
        "retrieval", "recall of 2,000 pictures in 8 languages", "--data: `xflickrco.json`; --images",
        "github.com/gregor-ge/Babel-ImageNet",
        "data images encoder lang metrics ties on_error confidence cache",
    ),
    "xm3600": Benchmark(
        "retrieval", "recall of 3,600 pictures in 36 languages", "--data: `captions.jsonl`; --images",
        "google.github.io/crossmodal-3600",
        "data images encoder lang metrics ties on_error confidence cache",
    ),
    "multi30k": Benchmark(
        "retrieval", "recall of 1,000 pictures in up to 4 languages",
        "--data: folder of `task1_raw_…` (or `task2_raw_…`, --split task2_test_2016); --images",
        "github.com/multi30k/dataset",
        "data images encoder lang split metrics ties on_error confidence cache",
    ),
    "jsonl": Benchmark(
        "retrieval", "your own, COCO-CN, Flickr30k-CN, Karpathy's splits",
        "--data: rows of `image, caption[, lang]`; --images", "your own",
        "data images encoder lang metrics ties on_error confidence cache",
    ),
    "sorce-1k": Benchmark(
        "retrieval", "recall by a small thing in the picture, at three zoom levels (1,023 captions)",
        "--data: folder of `dataset.jsonl`, `full_res`, `zoom_2x`, `zoom_3x`; --encoder; maybe --views corners",
        "huggingface.co/datasets/lcxrocks/sorce-1k",
        "data encoder lang views confidence cache",
    ),
    "merit": Benchmark(
        "retrieval", "products by several example products and a sentence: recall, MRR, conditions met",
        "--data: folder of `products.jsonl`, `queries.jsonl`, `images/`; --encoder",
        "huggingface.co/datasets/WeiChow/merit",
        "data images encoder on_error confidence cache",
    ),
    "folders": Benchmark(
        "zeroshot", "accuracy with class names in your languages",
        "--images: a folder a class; --labels: JSON `{lang: [name, …]}`", "your own",
        "encoder labels templates lang on_error confidence cache",
    ),
    "babel-imagenet": Benchmark(
        "zeroshot", "accuracy on ImageNet in up to 298 languages",
        "--labels: `babel_imagenet.json`; --images: ImageNet's validation pictures; maybe --templates",
        "github.com/gregor-ge/Babel-ImageNet",
        "encoder labels templates english lang on_error confidence cache",
    ),
    "mvl-sib": Benchmark(
        "choice", "match pictures and sentences by topic in 205 languages", "--data: SIB-200's folder; --images",
        "github.com/dadelani/sib-200, huggingface.co/datasets/WueNLP/mvl-sib",
        "model answers images lang task k limit seed parse confidence cache prices max_cost",
    ),
    "mmmb": Benchmark(
        "choice", "questions about pictures in 6 languages, circular",
        "--data: `mmmb_<lang>.tsv`, or MMBench's", "github.com/AIDC-AI/Parrot",
        "model answers images lang parse confidence cache prices max_cost",
    ),
    "pope": Benchmark(
        "choice", "yes/no questions about objects: F1, and the share of yes",
        "--data: rows of `image, text, label`; --images", "github.com/RUCAIBox/POPE",
        "model answers images lang parse confidence cache prices max_cost",
    ),
    "commute": Benchmark(
        "choice", "which translation fits the picture, by log-probability", "--data: its folder; --images",
        "github.com/MatthieuFP/CoMMuTE",
        "model answers images lang confidence cache prices max_cost",
    ),
    "smpqa": Benchmark(
        "choice", "words of many scripts in charts: found (ground) and read (name)",
        "--data: folder of `<lang>_ground.json`, `<lang>_name.json`, `images/`; make it with make-smpqa",
        "github.com/gregor-ge/Centurio, or made here",
        "model answers images lang confidence cache prices max_cost",
    ),
    "circo": Benchmark(
        "composed", "mAP@k (220 queries, 123,403 pictures)",
        "--annotations: `val.json` or `test.json`; to search: --images: COCO's `unlabeled2017`, --encoder",
        "github.com/miccunifi/CIRCO, cocodataset.org",
        "rankings annotations images encoder method weight texts lang split "
        "submission metrics on_error confidence cache model prices max_cost",
    ),
    "cirr": Benchmark(
        "composed", "recall@k, and within the subset",
        "--annotations: `cap.rc2.val.json`; to search: its folder (`split.rc2.val.json` too), --images, --encoder",
        "github.com/Cuberick-Orion/CIRR, lil.nlp.cornell.edu/nlvr",
        "rankings annotations subset images encoder method weight texts lang "
        "split submission metrics on_error confidence cache model prices max_cost",
    ),
    "fashion-iq": Benchmark(
        "composed", "recall@10 and @50, a category at a time",
        "--annotations: `cap.<category>.val.json` of each; to search: its folder (`split.…` too), --images, --encoder",
        "github.com/XiaoxiaoGuo/fashion-iq",
        "rankings annotations images encoder method weight texts lang split "
        "submission metrics on_error confidence cache model prices max_cost",
    ),
    "genecis": Benchmark(
        "composed", "recall@1, 2, 3 among 10 or 15 pictures under a condition, four tasks",
        "--annotations: `focus_attribute.json` and three more; --images: COCO val2017, Visual Genome; --encoder",
        "github.com/facebookresearch/genecis",
        "annotations images encoder method weight texts lang submission on_error confidence cache "
        "model prices max_cost",
    ),
    "geneval": Benchmark(
        "generation", "objects, counts, colours, positions (m-GenEval: the same prompts, translated)",
        "--data: `evaluation_metadata.jsonl`; --detections or --detector; pictures in `[<lang>/]00000/…`",
        "github.com/djghosh13/geneval, github.com/dhevarghese/NeoBabel",
        "data detections detector encoder confidence cache",
    ),
    "dpg": Benchmark(
        "generation", "questions about long prompts, answered by --judge (m-DPG: the prompts are translated)",
        "--data: `dpg_bench.csv`, or rows of `id, questions`; pictures `[<lang>/]<id>…`",
        "github.com/TencentQQGYLab/ELLA",
        "data judge confidence cache prices max_cost",
    ),
    "clc": Benchmark(
        "generation", "cross-lingual consistency: cosine of pictures of one prompt in two languages",
        "pictures in `<lang>/<prompt>/…`; --encoder", "your own",
        "encoder reference confidence cache",
    ),
    "css": Benchmark(
        "generation", "code-switching similarity: mixed prompts against English ones",
        "pictures in `<lang>/<prompt>/…`; --english: folder of `<prompt>/…`; --encoder", "your own",
        "encoder english order confidence cache",
    ),
    "foil": Benchmark(
        "agreement", "how often a metric scores a caption above the same with a wrong noun",
        "rows of `references, baseline, foil`", "github.com/DavidMChan/aloha",
        "lang images encoder parser tokenizer confidence cache",
    ),
    "hat": Benchmark(
        "agreement", "average precision of finding captions with a wrong word by their score",
        "rows of `caption, references, contains_hallucination`", "github.com/DavidMChan/aloha",
        "lang images encoder parser tokenizer confidence cache",
    ),
    "caparena": Benchmark(
        "agreement", "a metric's (or judge's) verdicts against 6,523 votes, and the rankings of both",
        "`caparena_annots_eval.json`: `source1, source2, caption1, caption2, ref, winner, cluster[, judge]`",
        "github.com/njucckevin/CapArena",
        "lang images encoder parser tokenizer confidence cache",
    ),
}  # fmt: skip


def listing() -> str:
    """Every metric and every benchmark, a line each.

    >>> "capture" in listing() and "babel-imagenet" in listing()
    True
    """
    wide = max(map(len, [*METRICS, *BENCHMARKS]))
    lines = ["Metrics: panoglot evaluate captions PREDS --metrics NAME,NAME"]
    for name, metric in METRICS.items():
        lines.append(f"  {name:<{wide}}  {metric.about}")
    for command in dict.fromkeys(row.command for row in BENCHMARKS.values()):
        lines += ["", f"Benchmarks: panoglot evaluate {command} --benchmark NAME"]
        lines += [f"  {name:<{wide}}  {row.about}" for name, row in BENCHMARKS.items() if row.command == command]
    lines += ["", "The files of each, and where they are: docs/metrics.md. Options: panoglot evaluate COMMAND --help."]
    return "\n".join(lines)
