"""A policy: what its file may hold, and whose signature counts."""

import pytest

from accountant.errors import PolicyError
from accountant.ledger.signing import load_signer, new_key
from accountant.policy import load_policy, sign_policy

TEXT = """schema: privgen.policy/1
name: Patients
audit: [epsilon<=3, signed, "tpr@1%<=0.2"]
evaluate:
  - gen2real>=0.8
"""


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    return path


def test_a_policy_is_its_gates(policy):
    found = load_policy(policy)
    assert [gate.text for gate in found.audit] == ["epsilon<=3", "signed", "tpr@1%<=0.2"]
    assert [gate.text for gate in found.evaluate] == ["gen2real>=0.8"]
    assert found.name == "Patients" and found.signed_by is None


def test_a_signed_policy_is_the_signers_and_no_byte_of_it_can_change(policy, tmp_path):
    public = new_key(tmp_path / "officer.key")
    sign_policy(policy, load_signer(tmp_path / "officer.key"))
    assert load_policy(policy, public_key=public).signed_by == public
    policy.write_text(TEXT.replace("epsilon<=3", "epsilon<=8"))
    with pytest.raises(PolicyError, match="signature"):
        load_policy(policy, public_key=public)


def test_another_key_or_no_signature_is_refused_where_a_key_is_given(policy, tmp_path):
    public, other = new_key(tmp_path / "officer.key"), new_key(tmp_path / "other.key")
    with pytest.raises(PolicyError, match="has no signature"):
        load_policy(policy, public_key=public)
    sign_policy(policy, load_signer(tmp_path / "other.key"))
    with pytest.raises(PolicyError, match="signature"):
        load_policy(policy, public_key=public)
    assert load_policy(policy, public_key=other).signed_by == other


def test_a_ledgers_signature_is_never_a_policys(policy, tmp_path):
    public = new_key(tmp_path / "officer.key")
    signature = load_signer(tmp_path / "officer.key").sign(policy.read_bytes())
    policy.with_name("policy.yaml.sig").write_text(signature.hex())
    with pytest.raises(PolicyError, match="signature"):
        load_policy(policy, public_key=public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- epsilon<=3",
        "schema: privgen.policy/2\naudit: [signed]",
        "schema: privgen.policy/1",
        "schema: privgen.policy/1\naudit: epsilon<=3",
        "schema: privgen.policy/1\naudit: [epsilon]\nallow: everything",
        "schema: privgen.policy/1\naudit: [{epsilon: 3}]",
        "schema: privgen.policy/1\naudit: [epsilon<3]",
        "schema: privgen.policy/1\nname: [a]\naudit: [signed]",
        "schema: privgen.policy/1\naudit: [epsilon<=3]\naudit: [epsilon<=300]",
        "schema: privgen.policy/1\naudit: !!python/object/apply:os.system [echo]",
        "schema: privgen.policy/1\n? [a]\n: b\naudit: [signed]",
        "audit: [",
        "\x00",
    ],
)
def test_what_is_no_policy_is_refused_by_its_name(text, policy):
    policy.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.yaml"):
        load_policy(policy)
