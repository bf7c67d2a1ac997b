"""The signed host does what the page about evidence says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from executus.adapters.signing import PublicKey
from executus.journal import HeadsCheck, Inspection, read_journal

EXAMPLE = Path(__file__).parents[2] / "examples" / "signed_host.py"


def test_the_signed_host_leaves_evidence_elsewhere(tmp_path: Path) -> None:
    key, evidence = tmp_path / "host.pem", tmp_path / "elsewhere.jsonl"
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "runs.db"), str(key), str(evidence)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello.\n0 runs (0 events) moved to the archive\n"
    reader = read_journal(tmp_path / "runs.db")
    check = HeadsCheck(evidence, [PublicKey(key)])
    assert list(Inspection(reader, heads=check).of_everything()) == []
    assert check.signed_to == reader.head()
    reader.close()
