"""The `panoglot` command: every verb of the Python package, with the same names and options. Thin: no logic here."""

from __future__ import annotations

import sys

__all__ = ["main"]

#: Command to (attribute of `_commands`, help line, group). Modules are imported when a command is run, not before.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "build": ("build", "Make a captioned, multilingual, searchable dataset of pictures.", "Make"),
    "ingest": ("ingest", "Read pictures and their texts into a dataset, and nothing else.", "Make"),
    "caption": ("caption", "Caption the pictures of a dataset by one method or several, in any language.", "Make"),
    "translate": ("translate", "Translate the captions of a dataset, kept where they pass two checks.", "Make"),
    "curate": ("curate", "Filter captions and pictures and find duplicates, each drop with its reason.", "Make"),
    "retry": ("retry", "Take up exactly the rows that failed.", "Make"),
    "export": (
        "export",
        "Write what is kept for a trainer or tool: WebDataset, Parquet, LLaVA, kohya and others.",
        "Make",
    ),
    "info": (
        "info",
        "Say what is in a dataset: pictures, captions, languages, kinds, splits, sizes, versions.",
        "Make",
    ),
    "push": ("push", "Put an export into a repository of the Hugging Face hub.", "Make"),
    "merge": ("merge", "Make one dataset of several, with ids and provenance.", "Make"),
    "subset": ("subset", "Put a part of a dataset into another: what a filter says.", "Make"),
    "split": ("split", "Divide into train, test and val, so that nothing is on both sides.", "Make"),
    "mix": ("mix", "Draw which kind of caption each picture is used with: VeCLIP, Revisit, your weights.", "Make"),
    "plan-languages": ("plan_languages", "Plan which picture is told in which language: Centurio, mBLIP.", "Make"),
    "train": ("train", "Train an encoder on the captions of a dataset, by the method of a paper.", "Train"),
    "index": ("index", "Prepare search: words and meaning of captions, several views a picture, the index.", "Look"),
    "search": ("search", "Search pictures by text in any language, by a picture, or by both.", "Look"),
    "edit": ("edit", "Correct a caption of a picture, add one, or drop one; nothing is lost.", "Look"),
    "forget": ("forget", "Forget pictures: bytes, captions and vectors go, and stay away.", "Look"),
    "serve": ("serve", "Serve a dataset: a page to search and correct it with, and an HTTP API.", "Look"),
    "show": ("show", "Show one picture's facts and all its captions with their provenance.", "Look"),
    "settings": ("settings", "Show or change what a dataset is set to: whose vectors a search takes.", "Look"),
    "report": ("report", "Write the report: one HTML page with pictures, captions, drops and prices.", "Look"),
    "compare": ("compare", "Compare two results: paired bootstrap, per language and overall.", "Judge"),
    "methods": ("methods", "List the methods of the 67 papers and which are here.", "Know"),
    "labels": ("labels", "Name the 1000 ImageNet classes in 100 languages and more, with sources.", "Know"),
    "models": ("models", "List the models and what they can do.", "Know"),
    "doctor": ("doctor", "Say what is installed, what is missing, and the pip line.", "Know"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 2 a user's mistake, 3 nothing was kept or too much failed, 1 a bug, 130 interrupted (Ctrl-C), 143 terminated
    (SIGTERM).
    """
    import gc

    if arguments is None:  # a process of its own: nothing that it imports becomes garbage; `_commands` enables it again
        gc.disable()
    import cyclopts

    import panoglot
    from panoglot.errors import NothingKept, PanoglotError, mendable
    from panoglot.evaluate._names import COMMANDS as EVALUATE
    from panoglot.evaluate._names import listing

    _end_as_ctrl_c_does()
    _show_what_the_terminal_can()
    app = cyclopts.App(
        name="panoglot",
        help="Turn pictures into trustworthy, multilingual, searchable image-text data.",
        version=panoglot.__version__,
        help_epilogue="Start: panoglot build PICTURES -o NAME.pano   then: panoglot search NAME.pano 'ein roter Vogel'",
        help_format="plaintext",  # to write Markdown costs a tenth of the start
        default_parameter=cyclopts.Parameter(negative_iterable=(), accepts_keys=False),
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # handled below
    )
    for name, (target, line, group) in COMMANDS.items():
        app.command(
            f"panoglot.cli._commands:{target}",
            name=name,
            help=line,
            group=group,
            help_epilogue="",
            help_format="markdown",
        )

    judge = cyclopts.App(
        name="evaluate",
        help="Judge captions, encoders and rankings.",
        group="Judge",
        help_epilogue="Every metric and every benchmark, a line each: panoglot evaluate --list",
    )
    for name, (_, line) in EVALUATE.items():
        judge.command(
            f"panoglot.cli._commands:evaluate_{name}", name=name, help=line, help_epilogue="", help_format="markdown"
        )
    app.command(judge)

    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if not {"--help", "-h", "--version"} & set(tokens):
        from panoglot.cli._newcomers import mistake, spelt
        from panoglot.table import few_arenas

        few_arenas()
        tokens = spelt(tokens, [*COMMANDS, "evaluate"])
        if wrong := mistake(tokens, [*COMMANDS, "evaluate"]):
            _fail(wrong)
    if tokens == ["evaluate", "--list"]:
        print(listing())
        sys.exit(0)
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        command = " ".join(tokens[: 2 if tokens[:1] == ["evaluate"] else 1])
        said = " ".join(str(error).split())
        if "--" in tokens and isinstance(error, cyclopts.UnknownOptionError):  # it would offer the same option
            said = f"{said.partition(' Did you mean')[0].rstrip('.')} after --: options stand before it."
        _fail(f"{said} See: panoglot {command} --help".replace("  ", " "))
    except PanoglotError as error:
        _fail(str(error), 3 if isinstance(error, NothingKept) else 2)
    except BrokenPipeError:  # `panoglot methods | head`
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt as stop:
        import os

        how = str(stop) or "interrupted; run the same command again to go on."
        print(f"\npanoglot: {how}", file=sys.stderr, flush=True)
        # not sys.exit: the engine's threads may still be in a batch, and Python would wait or abort
        os._exit(128 + getattr(stop, "signum", 2))
    except Exception as error:
        mended = mendable(error)
        if mended is None:
            raise
        _fail(mended)
    sys.exit(code if isinstance(code, int) else 0)


def _end_as_ctrl_c_does() -> None:
    """Let SIGTERM end the command as Ctrl-C does: what is under way is stored, workers end too."""
    import signal
    import threading

    class Terminated(KeyboardInterrupt):
        signum = int(signal.SIGTERM)

    def terminate(signum: int, frame: object) -> None:
        raise Terminated("terminated; run the same command again to go on.")

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def _show_what_the_terminal_can() -> None:
    """Write `?` or an escape for characters that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            utf8 = (stream.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig")
            reconfigure(errors="backslashreplace" if utf8 or stream is sys.stderr else "replace")


def _fail(message: str, code: int = 2) -> None:
    from panoglot.table._visible import terminal

    print(f"panoglot: {terminal(message)}", file=sys.stderr)
    sys.exit(code)
