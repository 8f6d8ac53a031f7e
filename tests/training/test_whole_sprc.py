"""SPRC as a whole: triples, a run of the composer, a run of its reranker, and a search, against its steps by loops."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import panoglot
from panoglot.networks import begin_with, load_row, make_model
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.running import encode_stage, run_stage
from panoglot.training import Trainer, read_records, wishes
from tests.networks.test_sprc_stages import blip2
from tests.training.plain_run import adamw, plain_run, same
from tests.training.test_composed import put


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip2")
    blip2(0).save_pretrained(folder)
    return str(folder)


def settings(name):
    composer = {"queries": 3, "width": 16, "layers": 3, "heads": 2, "drop": 0.0, "name": name}
    return {
        "image": {"name": name}, "text": {"width": 16, "name": name, "tokenizer": ""}, "dim": 8, "size": 16,
        "readers": {"composer": composer}, "batch": 6, "epochs": 2, "optimiser": {"lr": 1e-3},
    }  # fmt: skip


def embed(data, encoder):
    """Store the vectors of all pictures."""
    run = data.start_run({"test": {"encoder": encoder}}, {})
    run_stage(data, encode_stage(data, encoder, of="images"), run, quiet=True)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def nearest(query, pictures):
    """Step 5, query by query and picture by picture."""
    return torch.stack([torch.stack([(views @ q).max() for views in pictures]) for q in query])


def sprc_loss(model, batch):
    """Steps 1 to 9: three passes of the Q-Former, two contrasts one way, and the prompts' means."""
    composer, former = model.reader("composer"), model.reader("composer").former
    n = len(batch)
    with torch.no_grad():
        seen, wanted = model.image(batch.image[:, 0])[1], model.image(batch.others[:, 0])[1]
    ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
    words = model.text.embed(ids) + model.text.place[: ids.shape[1]]
    queries = torch.stack([composer.queries] * n)
    prompt = former(queries, words, mask, seen)[:, :3]
    f = unit(composer.of_text(former(prompt, words, mask)[:, 3]))
    target = unit(composer.of_picture(former(queries, memory=wanted)))
    common = former(torch.stack([composer.prompt] * n), words, mask)[:, 0]
    scale = model.parts["prompted"].scale.log.exp()
    itc = F.cross_entropy(nearest(f, target) * scale, torch.arange(n))
    rtc = F.cross_entropy(nearest(unit(composer.of_text(common)), target) * scale, torch.arange(n))
    align = ((prompt.mean(1) - composer.prompt.detach().mean(0)) ** 2).mean()
    return itc + 0.4 * rtc + 0.4 * align


def match_loss(model, batch):
    """Step 12: the pairs that fit, a false picture each, a false query each; drawn by the frozen composer."""
    composer, part, n = model.reader("composer"), model.parts["match"], len(batch)
    ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
    with torch.no_grad():
        composer.eval()
        seen, wanted = model.image(batch.image[:, 0])[1], model.image(batch.others[:, 0])[1]
        words = model.text.embed(ids) + model.text.place[: ids.shape[1]]
        queries = torch.stack([composer.queries] * n)
        prompt = composer.former(queries, words, mask, seen)[:, :3]
        f = unit(composer.of_text(composer.former(prompt, words, mask)[:, 3]))
        scores = nearest(f, unit(composer.of_picture(composer.former(queries, memory=wanted)))) / 0.07
    scores.fill_diagonal_(-float("inf"))
    worse, other = (
        torch.multinomial(z.softmax(1), 1, generator=torch.Generator().manual_seed(batch.seed + k))[:, 0].tolist()
        for k, z in enumerate((scores, scores.T))
    )
    logits, wanted_ = [], []
    for q, t, yes in (
        *((i, i, 1) for i in range(n)), *((i, worse[i], 0) for i in range(n)), *((other[i], i, 0) for i in range(n))
    ):  # fmt: skip
        memory = torch.cat([seen[q], wanted[t]])[None]
        hidden = part.former(part.queries[None], words[q][None], mask[q][None], memory)[0, :3]
        logits.append(torch.stack([part.head(one) for one in hidden]).mean(0))
        wanted_.append(yes)
    return F.cross_entropy(torch.stack(logits), torch.tensor(wanted_))


def one_cycle(total, rise, of):
    """PyTorch's own, as shares of its highest rate."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=round(total * of), pct_start=rise)
    found = []
    for _ in range(total):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    return found.__getitem__


@pytest.mark.paper(
    "sprc",
    shows="C",
    case="a run of the paper's row over BLIP-2's architecture (frozen tower, 3 passes, L_itc + .4 L_rtc + .4 L_align"
    ", AdamW .9 .98 1e-7 .05, one cycle of 1.6 runs, pictures padded to 1.25, the best epoch kept) equals its steps by "
    "loops, 2e-5, and so does its reranker; a search by both has their order",
)
def test_sprc_trains_reranks_and_searches_as_its_paper(checkpoint, tmp_path):
    paper = load_row("sprc")
    assert (paper.losses["prompted"], paper.views, paper.stop) == (
        {"weight": 1.0, "text": 0.4, "align": 0.4}, {"pad": 1.25}, {"patience": 50}
    )  # fmt: skip
    assert (paper.batch, paper.epochs, paper.text["length"], paper.freeze) == (
        128, 50, 32, ({"freeze": ["image.*", "head.*"]},)
    )  # fmt: skip
    data, triples = put(tmp_path / "x.pano", wishes(30))
    records = read_records(data, takes=("triple",)).records
    assert len({r.pair_id for r in records}) == 30
    adam = {"betas": (0.9, 0.98), "eps": 1e-7}

    # steps 1 to 10; 11: the better of two epochs on what is held out
    row = load_row("sprc", **settings(checkpoint))
    make = adamw(0.05, lr=1e-3, **adam, learns=lambda name: not name.startswith(("image.", "head.")))
    trainer = Trainer(row, records, tmp_path / "plain", workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    want, model = plain_run(row, records, sprc_loss, make, one_cycle(10, 0.02, 1.6))
    same(trainer, got, want, model, weights=3e-3)  # Adam makes whole steps of gradients that are rounding
    kept = Trainer(row, records, tmp_path / "run", workers=0, held_out=records[:12])
    kept.fit(progress=False)
    assert len(kept.best.values) == 2
    assert kept.best.value == max(kept.best.values)

    # step 12
    more = {**settings(checkpoint), "start": str(tmp_path / "run"), "losses": {"match": {"name": checkpoint}}}
    row = load_row("sprc", "rerank", **more)
    reranker = Trainer(row, records, tmp_path / "rerank", workers=0)
    got = [figures["loss"] for figures in reranker.fit(progress=False)]
    begun = make_model(row, 0)
    begin_with(begun, tmp_path / "run")
    make = adamw(0.05, lr=1e-3, **adam, learns=lambda name: name.startswith("parts.match."))
    want, model = plain_run(row, records, match_loss, make, one_cycle(10, 0.02, 1.6), model=begun)
    same(reranker, got, want, model, weights=3e-3)

    # the gallery once; a query by steps 2 and 3; the best of them looked at again
    encoder = load_model(f"pano:{tmp_path / 'rerank'}", "encoder")
    assert (encoder.composes, encoder.matches, encoder.views) == (True, True, 3)
    embed(data, encoder.name)
    reference, text = triples[0].image_id, triples[0].text
    plain = panoglot.search(data.path, text, image=reference, encoder=encoder, k=20)
    again = panoglot.search(
        data.path, text, image=reference, encoder=encoder, k=20, option=["rerank=5"], preset="learned"
    )
    ids = [hit.image_id for hit in plain]
    pictures = {key: Image(data.images.get([key], ["data"]).to_pylist()[0]["data"]) for key in [*ids, reference]}
    values = encoder.match_queries([[pictures[reference], text]] * 5, [pictures[key] for key in ids[:5]])
    order = sorted(range(5), key=lambda k: -values[k])
    assert [hit.image_id for hit in again] == [*(ids[k] for k in order), *ids[5:]]
    assert again.stages["rerank"][:20] == [hit.image_id for hit in again]
    assert again.stages["search"][:20] == ids
    assert all(0 < value < 1 for value in values)
    assert again.plan.rerank == 5
    found = np.array([[float((encoder.encode_images([pictures[key]])[0] @ q).max()) for key in ids]
                      for q in encoder.encode_queries([[pictures[reference], text]])])  # fmt: skip
    assert (np.diff(found[0]) < 2e-3).all()


def test_what_cannot_be_reranked_says_so(checkpoint, tmp_path):
    data, triples = put(tmp_path / "x.pano", wishes(12))
    row = load_row("sprc", **settings(checkpoint))
    trainer = Trainer(row, read_records(data, takes=("triple",)).records, tmp_path / "run", workers=0)
    trainer.fit(1, progress=False)
    trainer.save()
    encoder = load_model(f"pano:{tmp_path / 'run'}", "encoder")
    embed(data, encoder.name)
    hits = panoglot.search(
        data.path,
        triples[0].text,
        image=triples[0].image_id,
        encoder=encoder,
        k=3,
        preset="learned",
        option=["rerank=5"],
    )
    assert len(hits) == 3
    assert "not reranked: it takes a picture and a text, and an encoder that was trained to" in " ".join(hits.notes)
    assert set(hits.stages) == {"search"}
    missing = encoder.match_queries([["only words"], [Image(b"torn", "x", 1, 1), "x"]], [Image(b"torn", "y", 1, 1)] * 2)
    assert missing == [None, None]
    with pytest.raises(panoglot.UserError, match="rerank=-1 must be a whole number"):
        panoglot.search(
            data.path, "x", image=triples[0].image_id, encoder=encoder, preset="learned", option=["rerank=-1"]
        )
