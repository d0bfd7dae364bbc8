"""`privgen keys`: keys that sign ledgers and policies."""

from __future__ import annotations

from pathlib import Path

import click

from privgen.cli.suggestions import SuggestingGroup


@click.group(cls=SuggestingGroup)
def command() -> None:
    """Ed25519 keys that sign a run's ledger, so that rewriting all of it is seen, and policies of gates."""


NEW_EPILOG = """\b
Example:
  privgen keys new officer.key
  privgen train --plan plan.json --out runs/fm --signing-key officer.key
  privgen audit runs/fm --public-key officer.key.pub
"""


@command.command("new", epilog=NEW_EPILOG)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
def new(path: Path) -> None:
    """Make a private key in the file PATH (readable by its owner only) and the public one in PATH.pub.

    Who holds the private key can sign a ledger. Give the public key to whoever audits, by another way than the
    run's folder.
    """
    from accountant.ledger.signing import new_key
    from privgen.cli.console import console

    public = new_key(path)
    console.print(f"Private key: {path} (keep it). Public key: {path}.pub: {public}", markup=False, soft_wrap=True)


SIGN_EPILOG = """\b
Example:
  privgen keys sign policy.yaml --key officer.key
  privgen audit runs/fm --policy policy.yaml --policy-key officer.key.pub
"""


@command.command("sign", epilog=SIGN_EPILOG)
@click.argument("policy", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--key", "key", required=True, type=click.Path(path_type=Path), help="The private key's file.")
def sign(policy: Path, key: Path) -> None:
    """Sign the policy in the file POLICY: its signature goes to POLICY.sig.

    A policy lists gates that every run must meet (privgen audit --policy).
    """
    from accountant.ledger.signing import load_signer
    from accountant.policy import sign_policy
    from privgen.cli.console import console

    signer = load_signer(key)
    place = sign_policy(policy, signer)
    console.print(f"Signed by {signer.public_key}: {place}", markup=False, soft_wrap=True)
