"""The server's TLS certificate, issued by an authority whose private key is not kept.

Clients trust one file, which holds the certificate and its authority. Without the authority's key nobody can issue
another certificate that they would trust.
"""

from pathlib import Path

import trustme

#: HTTP APIs answer under `<api id>.execute-api.localhost`.
NAMES = ("127.0.0.1", "localhost", "*.localhost", "*.execute-api.localhost")


def ensure(certificate: Path, private_key: Path) -> None:
    """Make the certificate and its private key unless both files exist."""
    if certificate.exists() and private_key.exists():
        return
    authority = trustme.CA(organization_name="local cloud of an image pipeline clone")
    issued = authority.issue_cert(*NAMES)
    private_key.unlink(missing_ok=True)
    private_key.touch(mode=0o600)
    issued.private_key_pem.write_to_path(private_key)
    certificate.write_bytes(b"".join(pem.bytes() for pem in (*issued.cert_chain_pems, authority.cert_pem)))
