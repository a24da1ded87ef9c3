"""Signed mails: `make FOLDER` writes NAME.eml, `check FOLDER` verifies NAME.copy, what a receiver has of each.

dkimpy signs and verifies DKIM and ARC, openssl S/MIME, gpg PGP/MIME and inline PGP; the keys are made anew each time.
"""
import base64
import email
import os
import pathlib
import subprocess
import sys

import dkim

folder = pathlib.Path(sys.argv[2])
home = folder / "gnupg"
key, cert = folder / "rsa.key", folder / "smime.crt"
ENV = {**os.environ, "GNUPGHOME": str(home)}
HTML = (
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"<html><body>\r\n<p>Gr\xc3\xbc\xc3\x9fe:  two spaces, <a href=\"https://shop.example/offer?a=1&amp;b=2\">a link</a> \t\r\n"
    b".<a href='http://second.example/'>another</a></p>\r\n</body></html>\r\n\r\n\r\n"
)


def run(*words, stdin=b""):
    return subprocess.run(words, input=stdin, env=ENV, check=True, capture_output=True).stdout


def header(name, more=b""):
    return (
        b"From: Ana <a@example.com>\r\nTo: b@ok.test\r\nSubject:  " + name.encode() + b"\r\n over  two lines\r\n"
        b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + name.encode() + b"@example.com>\r\n"
        b"MIME-Version: 1.0\r\n" + more
    )


def crlf(text):
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def txt(name, timeout=5):
    public = run("openssl", "rsa", "-in", str(key), "-pubout", "-outform", "DER")
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def detached(content):
    return crlf(run("gpg", "--batch", "--armor", "--detach-sign", "--digest-algo", "SHA256", stdin=content))


def by_dkim(name, canonical):
    mail = header(name) + HTML
    return dkim.sign(mail, b"sel", b"example.com", key.read_bytes(), canonicalize=canonical) + mail


def by_arc(name):
    mail = header(name, b"Authentication-Results: example.com; spf=pass smtp.mailfrom=a@example.com\r\n") + HTML
    return b"".join(dkim.arc_sign(mail, b"sel", b"example.com", key.read_bytes(), b"example.com")) + mail


def by_smime(name, *how):
    signed = run("openssl", "cms", "-sign", "-signer", str(cert), "-inkey", str(key), "-md", "sha256", *how, stdin=HTML)
    return header(name) + crlf(signed).replace(b"MIME-Version: 1.0\r\n", b"", 1)


def by_pgp_mime(name):
    return header(
        name,
        b'Content-Type: multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature";\r\n'
        b' boundary="a-long-boundary-of-its-own"\r\n\r\nA preamble.\r\n',
    ) + (
        b"--a-long-boundary-of-its-own\r\n" + HTML + b"\r\n--a-long-boundary-of-its-own\r\n"
        b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n" + detached(HTML)
        + b"\r\n--a-long-boundary-of-its-own--\r\n"
    )


def by_inline_pgp(name):
    text = crlf(run("gpg", "--batch", "--armor", "--clearsign", stdin=b"See https://shop.example/offer\r\n- and this\r\n"))
    return header(name, b'Content-Type: multipart/alternative; boundary="a-long-boundary-of-its-own"\r\n\r\n') + (
        b"--a-long-boundary-of-its-own\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n" + text
        + b"\r\n--a-long-boundary-of-its-own\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n"
        b'<html><body><a href="https://shop.example/key">my key</a><pre>' + text + b"</pre></body></html>"
        b"\r\n--a-long-boundary-of-its-own--\r\n"
    )


MAILS = {
    "dkim-relaxed": lambda name: by_dkim(name, (b"relaxed", b"relaxed")),
    "dkim-simple": lambda name: by_dkim(name, (b"simple", b"simple")),
    "arc": by_arc,
    "smime": by_smime,
    "smime-opaque": lambda name: by_smime(name, "-nodetach"),
    "pgp-mime": by_pgp_mime,
    "inline-pgp": by_inline_pgp,
    "unsigned": lambda name: header(name) + HTML,
}


def make():
    home.mkdir(mode=0o700)
    run("openssl", "genrsa", "-traditional", "-out", str(key), "2048")
    run("openssl", "req", "-x509", "-new", "-key", str(key), "-subj", "/CN=Ana/emailAddress=a@example.com",
        "-addext", "extendedKeyUsage=emailProtection", "-days", "2", "-out", str(cert))
    run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Ana <a@example.com>", "rsa2048", "sign", "0")
    for name, sign in MAILS.items():
        (folder / f"{name}.eml").write_bytes(sign(name))


def parts(mail):
    return [part for part in email.message_from_bytes(mail).walk() if not part.is_multipart()]


def verified(name, mail):
    """Raises, or answers false, where a receiver would reject the signature."""
    if name.startswith("dkim"):
        return dkim.verify(mail, dnsfunc=txt)
    if name == "arc":
        return dkim.arc_verify(mail, dnsfunc=txt)[0] == b"pass"
    if name.startswith("smime"):
        content = run("openssl", "cms", "-verify", "-CAfile", str(cert), stdin=mail)
        return crlf(content) == HTML
    if name == "pgp-mime":
        (folder / "signature.asc").write_bytes(parts(mail)[1].get_payload(decode=True))
        signed = mail.split(b"\r\n--a-long-boundary-of-its-own\r\n")[1]
        run("gpg", "--batch", "--verify", str(folder / "signature.asc"), "-", stdin=signed)
        return True
    run("gpg", "--batch", "--verify", stdin=parts(mail)[0].get_payload(decode=True))
    return True


def is_verified(name, mail):
    try:
        return bool(verified(name, mail))
    except (subprocess.CalledProcessError, dkim.DKIMException, IndexError):
        return False


def check():
    wrong = 0
    for name in MAILS:
        if name == "unsigned":
            continue
        copy = crlf((folder / f"{name}.copy").read_bytes())
        # The signature as sent verifies; the copy does; and with another link, or other base64, it does not.
        spliced = copy.replace(b"https://shop.example/", b"https://track.example/c/")
        if spliced == copy:
            lines = copy.split(b"\r\n")
            lines[len(lines) // 2] = lines[len(lines) // 2][::-1]
            spliced = b"\r\n".join(lines)
        seen = [is_verified(name, (folder / f"{name}.eml").read_bytes()), is_verified(name, copy)]
        seen.append(not is_verified(name, spliced))
        print(f"{name}: sent {seen[0]}, arrived {seen[1]}, a spliced one is noticed {seen[2]}")
        wrong += seen != [True, True, True]
    sys.exit(1 if wrong else 0)


try:
    {"make": make, "check": check}[sys.argv[1]]()
finally:
    if sys.argv[1] == "check":
        subprocess.run(["gpgconf", "--kill", "all"], env=ENV, check=False)
