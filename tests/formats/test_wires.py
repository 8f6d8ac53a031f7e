"""The connections below downloads: TLS, bodies that come faster than they are read, connections that are closed."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading

import pytest

from panoglot.formats import Downloads, Limits, Sample, find_format, read_part
from panoglot.table import Reject
from tests.conftest import picture_bytes


def certificate(folder):
    """A certificate of 127.0.0.1 that signs itself, and its key, as files."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


@contextlib.contextmanager
def serving(answer, context=None):
    """A server on loopback in a thread of its own: `answer(path)` gives body and whether to close; its port."""
    loop, ready, made = asyncio.new_event_loop(), threading.Event(), []

    async def talk(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                path = request.split(b" ", 2)[1].decode()
                if path == "/robots.txt":
                    writer.write(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n")
                    continue
                body, close = answer(path)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
                if close:
                    break
        writer.close()

    async def start():
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
        made.append(server.sockets[0].getsockname()[1])
        ready.set()
        await server.serve_forever()

    def run():
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(start())

    threading.Thread(target=run, daemon=True).start()
    assert ready.wait(10)
    yield made[0]
    loop.call_soon_threadsafe(loop.stop)


def fetched(folder, urls, **limits):
    """The samples and rejects of some addresses, asked for one after the other."""
    (folder / "urls.list").write_text("\n".join(urls) + "\n")
    downloads = Downloads(Limits(**{"seconds": 10, "connections": 1, **limits}))
    _, parts = find_format(folder / "urls.list", options={"allow_private": True, "per_host": 1})
    found = [one for part in parts() for one in read_part(part, downloads)]
    downloads.close()
    return [one for one in found if isinstance(one, Sample)], [one for one in found if isinstance(one, Reject)]


def test_pictures_come_over_tls_from_a_site_that_is_trusted_alone(tmp_path, monkeypatch):
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    pictures = {f"/{n}.png": picture_bytes(n, 64, 48) for n in range(3)}
    with serving(lambda path: (pictures[path], False), context) as port:
        urls = [f"https://127.0.0.1:{port}{path}" for path in pictures]
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        samples, rejects = fetched(tmp_path, urls)
        assert (sorted(one.data for one in samples), rejects) == (sorted(pictures.values()), [])
        monkeypatch.delenv("SSL_CERT_FILE")
        samples, rejects = fetched(tmp_path, urls[:1])
    assert not samples
    assert [one.reason for one in rejects] == ["robots_unreachable"]
    assert "certificate" in rejects[0].message.lower()


def test_a_body_that_comes_faster_than_it_is_read_is_whole(tmp_path):
    large = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40_000
    with serving(lambda path: (large, False)) as port:
        samples, rejects = fetched(tmp_path, [f"http://127.0.0.1:{port}/{n}.jpg" for n in range(3)])
    assert ([one.data for one in samples], rejects) == ([large] * 3, [])


def test_a_connection_that_was_closed_after_its_answer_costs_no_picture(tmp_path):
    small = picture_bytes(1, 20, 20)
    asked = []

    def answer(path):
        asked.append(path)
        return small, True

    with serving(answer) as port:
        samples, rejects = fetched(tmp_path, [f"http://127.0.0.1:{port}/{n}.png" for n in range(8)])
    assert ([one.data for one in samples], rejects) == ([small] * 8, [])
    assert len(set(asked)) == 8
