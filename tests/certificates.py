"""Certificates for servers and clients on this machine."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Authority(NamedTuple):
    """An authority of our own, a certificate for this machine, and one for its clients, as PEM files."""

    ca: Path
    server: Path
    stranger: Path
    client: Path


def make_authority(at: Path) -> Authority:
    """Return an authority whose files are in `at`; without openssl the test is skipped, and CI fails it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        reason = "the openssl command is not on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    new = [openssl, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def run(*command: str) -> None:
        subprocess.run(command, cwd=at, check=True, capture_output=True, timeout=60)

    config = at / "openssl.cnf"
    config.write_text(
        "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=emulated\n"
        "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\n"
        "[server]\nsubjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n"
        "[stranger]\nsubjectAltName=DNS:elsewhere.invalid\nextendedKeyUsage=serverAuth\n"
        "[client]\nextendedKeyUsage=clientAuth\n"
    )
    conf = ["-config", "openssl.cnf"]
    run(*new, *conf, "-x509", "-days", "2", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "stranger", "client"):
        run(*new, *conf, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = [openssl, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"]
        sign += ["-CAcreateserial", "-days", "2", "-extfile", "openssl.cnf", "-extensions", name]
        run(*sign, "-out", f"{name}.crt")
        (at / f"{name}.pem").write_bytes(
            (at / f"{name}.crt").read_bytes() + (at / f"{name}.key").read_bytes()
        )
    return Authority(at / "ca.pem", at / "server.pem", at / "stranger.pem", at / "client.pem")
