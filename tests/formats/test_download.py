"""Pictures by their addresses, from a server on loopback that misbehaves."""

import csv
import socket
from collections import Counter

import pytest

import panoglot
from panoglot.formats import Downloads, Limits, Sample, find_format, read_part
from panoglot.table import Reject
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take
from tests.formats.web_server import WebServer

LIMITS = Limits(bytes=200_000, seconds=1.5, connections=32)


@pytest.fixture
def server():
    with WebServer().running() as one:
        yield one


def table(path, urls, captions=None):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["url", "caption", "lang"])
        for n, url in enumerate(urls):
            writer.writerow([url, captions[n] if captions else f"รูปที่ {n}", "th"])
    return path


def fetch(path, limits=LIMITS, **options):
    """(samples by url, rejects by url) of a table of addresses."""
    downloads = Downloads(limits)
    _, parts = find_format(path, options={"allow_private": True, **options})
    try:
        found = [one for part in parts() for one in read_part(part, downloads)]
    finally:
        downloads.close()
    samples = {one.context["url"]: one for one in found if isinstance(one, Sample)}
    return samples, {one.message.partition(": ")[0]: one.reason for one in found if isinstance(one, Reject)}


#: What the server does to why the picture is not taken.
MISBEHAVES = {
    "/html/1.jpg": "not_an_image",
    "/liar/1.jpg": "not_an_image",
    "/status/404.jpg": "http_404",
    "/status/410.jpg": "http_410",
    "/status/500.jpg": "http_5xx",
    "/huge/1.jpg": "too_many_bytes",
    "/endless/1.jpg": "too_many_bytes",
    "/cut/1.jpg": "truncated_download",
    "/reset/1.jpg": "truncated_download",
    "/drip/1.jpg": "download_timeout",
    "/loop/1.jpg": "too_many_redirects",
    "/file/1.jpg": "unsupported_address",
    "/packed/1.jpg": "unsupported_format",
    "/noai/1.jpg": "robots_tag",
    "/private/1.jpg": "robots_disallowed",
    "/x.secret": "robots_disallowed",
}


def test_alt_texts_that_are_names_of_files_are_no_pictures(server, tmp_path):
    urls = [server.url(f"/ok/{n}.jpg") for n in (1, 2)]
    samples, rejects = fetch(table(tmp_path / "urls.csv", urls, ["IMG_0001.jpg", "ภาพ 2.png"]))
    assert not rejects
    assert [samples[url].captions[0].text for url in urls] == ["IMG_0001.jpg", "ภาพ 2.png"]


def test_a_server_that_misbehaves_costs_its_own_rows(server, tmp_path):
    good = [server.url(path) for path in ("/ok/1.jpg", "/flaky/2.jpg", "/othertag/3.jpg", "/go/127.0.0.1/4.jpg")]
    bad = {server.url(path): reason for path, reason in MISBEHAVES.items()}
    bad[server.url("/ok/5.jpg", "localhost")] = "robots_unreachable"
    bad[server.url("/go/localhost/6.jpg")] = "robots_unreachable"  # a redirect is checked like an address
    bad["http://no-such-host.invalid/1.jpg"] = "unknown_host"
    samples, rejects = fetch(table(tmp_path / "urls.csv", [*good, *bad]))
    assert rejects == bad
    assert [samples[url].data for url in good] == [picture_bytes(n, 32, 24) for n in (1, 2, 3, 4)]
    first = samples[good[0]]
    assert [(c.lang, c.text, c.kind) for c in first.captions] == [("th", "รูปที่ 0", "alt")]
    assert server.asked["/robots.txt"] == 2  # once a site
    assert server.asked["/flaky/2.jpg"] == 3
    assert server.asked["/status/404.jpg"] == 1  # what will not pass is not tried again


def test_nothing_private_is_asked_for(server, tmp_path):
    urls = [server.url("/ok/1.jpg"), "http://10.1.2.3/a.jpg", "http://[::1]/a.jpg", "http://169.254.169.254/a.jpg"]
    samples, rejects = fetch(table(tmp_path / "urls.csv", urls), allow_private=False)
    assert samples == {}
    assert rejects == dict.fromkeys(urls, "private_address")
    assert server.asked == {}


def test_a_redirect_and_a_name_that_answers_anew_do_not_lead_there(server, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "panoglot.formats._download.is_public", lambda address: address != "127.0.0.2"
    )  # 127.0.0.1 plays the public one
    resolve, answers = socket.getaddrinfo, Counter()

    def rebinding(host, *more, **options):
        if host == "rebind.test":
            answers[host] += 1
            host = "127.0.0.1" if answers[host] == 1 else "127.0.0.2"
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    away = server.url("/go/127.0.0.2/1.jpg")
    # the answer to the first request closes the connection: the second resolves the name again
    rebound = server.url("/cut/1.jpg", "rebind.test")
    samples, rejects = fetch(
        table(tmp_path / "urls.csv", [away, rebound, server.url("/ok/2.jpg")]), allow_private=False
    )
    assert rejects == {away: "private_address", rebound: "private_address"}
    assert list(samples) == [server.url("/ok/2.jpg")]
    assert answers["rebind.test"] > 1


def test_a_host_is_asked_a_few_things_at_once(server, tmp_path):
    urls = [server.url(f"/ok/{n}.jpg") for n in range(60)]
    samples, _ = fetch(table(tmp_path / "urls.csv", urls), per_host=3)
    assert (len(samples), server.most) == (60, 3)


def test_a_delay_that_a_site_asks_for(server, tmp_path):
    server.robots["127.0.0.1"] = (200, b"User-agent: panoglot\nCrawl-delay: 0.2\n")
    downloads = Downloads(LIMITS)
    _, parts = find_format(
        table(tmp_path / "urls.csv", [server.url(f"/ok/{n}.jpg") for n in range(4)]), options={"allow_private": True}
    )
    assert sum(isinstance(one, Sample) for part in parts() for one in read_part(part, downloads)) == 4
    assert downloads.seconds >= 0.6  # the first at once, then three delays
    downloads.close()


def test_addresses_in_tables_of_pictures_are_not_fetched(server, tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "rows.csv").write_text(f"image,url\na.jpg,\n,{server.url('/ok/1.jpg')}\n")
    samples, rejects = take(tmp_path / "rows.csv", allow_private=True)
    assert (len(samples), reasons(rejects)) == (1, ["remote_url"])
    samples, rejects = take(table(tmp_path / "urls.csv", [server.url("/ok/1.jpg")]), download=False)
    assert (samples, reasons(rejects)) == ([], ["remote_url"])
    assert server.asked == {}


def test_a_text_file_of_addresses(server, tmp_path):
    (tmp_path / "urls.txt").write_text(f"{server.url('/ok/1.jpg')}\n\n{server.url('/ok/2')}\n")
    samples, rejects = take(tmp_path / "urls.txt", allow_private=True)
    assert sorted(one.data for one in samples) == sorted(picture_bytes(n, 32, 24) for n in (1, 2))
    assert rejects == []


def test_two_thousand_addresses_then_only_what_failed(server, tmp_path):
    urls = [server.url(f"/ok/{n}.jpg") for n in range(1900)]
    urls += [server.url(f"/down/{n}.jpg") for n in range(60)] + [server.url(f"/status/{n}/404.jpg") for n in range(40)]
    source, output = str(table(tmp_path / "urls.csv", urls)), str(tmp_path / "x.pano")
    server.pages = {f"/down/{n}.jpg": (picture_bytes(5000 + n, 32, 24), "image/jpeg") for n in range(60)}
    held, server.pages = server.pages, {}
    server.down = {"/down/"}
    result = panoglot.ingest(source, output, option=["allow_private=true", "per_host=16"], quiet=True)
    data = panoglot.open(output)
    assert len(data.images) == 1900
    assert data.captions.count("lang = 'th'") == 1900
    (line,) = [one for one in result.remarks if "downloaded" in one]
    assert line.startswith("1,900 pictures were downloaded (")
    assert line.endswith("; 100 were not: http_5xx 60, http_404 40")
    server.down, server.pages = set(), held
    server.asked.clear()
    result = panoglot.retry(data, quiet=True)
    assert len(data.images) == 1960
    assert {path.split("/")[1] for path in server.asked} == {"robots.txt", "down", "status"}
    (line,) = [one for one in result.remarks if "downloaded" in one]
    assert "60 pictures were downloaded" in line
    assert "; 900 were fetched before; 40 were not: http_404 40" in line  # the part that is read again
    server.asked.clear()
    panoglot.ingest(source, output, option=["allow_private=true", "per_host=16"], quiet=True)
    assert len(data.images) == 1960
    assert not any(path.startswith(("/ok", "/down")) for path in server.asked)


def test_who_opted_out_is_never_asked(tmp_path):
    with WebServer().running() as server:
        urls = [server.url(f"/ok/{n}.jpg") for n in range(4)]
        (tmp_path / "urls.txt").write_text("\n".join([*urls[:3], server.url("/go/127.0.0.1/3")]) + "\n")
        listed = [f"{urls[1].removeprefix('http://')}  # the owner wrote on 3 May", urls[3]]
        (tmp_path / "out.txt").write_text("\n".join(listed))
        options = {"option": ["allow_private=true"], "opt_out": str(tmp_path / "out.txt"), "quiet": True}
        result = panoglot.ingest(str(tmp_path / "urls.txt"), str(tmp_path / "x.pano"), **options)
        data = panoglot.open(str(tmp_path / "x.pano"))
        assert (len(data.images), result.rejected) == (2, 2)
        rows = data.rejects.rows(["item", "reason", "message"])
        assert sorted((row["reason"], "is on the list" in row["message"]) for row in rows) == [("opted_out", True)] * 2
        assert server.asked["/go/127.0.0.1/3"] == 1  # what it leads to is seen before it is asked
        assert not {"/ok/1.jpg", "/ok/3.jpg"} & set(server.asked)
        (tmp_path / "out.txt").write_text("nobody.example\n")
        result = panoglot.ingest(str(tmp_path / "urls.txt"), str(tmp_path / "x.pano"), **options)
        assert (len(panoglot.open(str(tmp_path / "x.pano")).images), server.asked["/ok/0.jpg"]) == (4, 1)
        assert panoglot.open(str(tmp_path / "x.pano")).rejects.count("resolved is null") == 0
