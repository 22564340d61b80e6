"""Derived identifiers."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from dicom_gateway.results.uids import ResultIdentity, derived_uid, manifest_digest
from neuroscan_core.domain.volume import FrameKey

from .series import MODEL

IDENTITY = ResultIdentity("1.2.3", MODEL, 1, manifest_digest([FrameKey("1.2.4")]))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_derived_uids_are_valid(parts: list[str]) -> None:
    uid = UID(derived_uid(*parts))
    assert uid.is_valid and len(uid) <= 44
    assert uid == derived_uid(*parts)


def test_identifiers_never_change_between_releases() -> None:
    assert derived_uid("a", "b") == "2.25.284871002632533666880115388957184506521"


def test_parts_are_kept_apart() -> None:
    assert derived_uid("ab", "c") != derived_uid("a", "bc")


def test_every_kind_encoding_number_and_manifest_has_its_own() -> None:
    other = replace(IDENTITY, manifest_sha256=manifest_digest([FrameKey("1.2.4", 2)]))
    made = [
        IDENTITY.series_uid("SEG", "BINARY"), IDENTITY.series_uid("SEG", "LABELMAP"), IDENTITY.series_uid("SR"),
        IDENTITY.instance_uid("SEG", "BINARY"), IDENTITY.instance_uid("SEG", "LABELMAP"), IDENTITY.instance_uid("SR"),
        IDENTITY.instance_uid("SC", number=1), IDENTITY.instance_uid("SC", number=2),
        other.instance_uid("SR"), replace(IDENTITY, version=2).instance_uid("SR"),
        IDENTITY.tracking_uid(1), IDENTITY.tracking_uid(2), IDENTITY.dimension_organization_uid("BINARY"),
    ]  # fmt: skip
    assert len(set(made)) == len(made)
