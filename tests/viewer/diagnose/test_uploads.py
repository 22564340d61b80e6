"""Taking in: forms straight to disk, names that stay inside, archives that are what they say."""

from __future__ import annotations

import asyncio
import io
import stat
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from neuroscan_core.domain.errors import WebProblem
from neuroscan_core.viewer.diagnose import unpacking
from neuroscan_core.viewer.diagnose.names import free_path, safe_name
from neuroscan_core.viewer.diagnose.unpacking import Limits, unpack_all
from neuroscan_core.viewer.diagnose.upload import Received, receive_files

BOUNDARY = "----boundary7"
LIMITS = Limits(max_files=20, max_bytes=200 << 20)


def form(*files: tuple[str, bytes], end: str = "--\r\n") -> bytes:
    body = b""
    for name, content in files:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}{end}".encode()


def receive(
    folder: Path, body: bytes, *, chunk: int = 7000, max_files: int = 10, max_bytes: int = 1 << 20,
    content_type: str = f"multipart/form-data; boundary={BOUNDARY}",
) -> Received:  # fmt: skip
    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    return asyncio.run(receive_files(content_type, stream(), folder, max_files=max_files, max_bytes=max_bytes))


def status_of(act: Callable[[], object]) -> int:
    with pytest.raises(WebProblem) as caught:
        act()
    assert caught.value.message.endswith(".")
    return int(caught.value.status)


# -------------------------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize("chunk", [1, 13, 4096, 1 << 20])
def test_files_come_as_they_were_sent_however_the_bytes_are_cut(tmp_path: Path, chunk: int) -> None:
    content = bytes(range(256)) * 5 + b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n"
    received = receive(tmp_path, form(("study/IM1.dcm", content), ("b.nii.gz", b"x")), chunk=chunk)
    assert received == Received(2, len(content) + 1)
    assert (tmp_path / "study" / "IM1.dcm").read_bytes() == content and (tmp_path / "b.nii.gz").read_bytes() == b"x"


def test_files_of_one_name_are_all_kept(tmp_path: Path) -> None:
    receive(tmp_path, form(("a.dcm", b"1"), ("a.dcm", b"2"), ("a.dcm", b"3")))
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("body", "keywords", "status"),
    [
        (form(("a", b"x" * 2000)), {"max_bytes": 1000}, 413),
        (form(*((f"{n}", b"x") for n in range(5))), {"max_files": 4}, 413),
        (form(), {}, 422),
        (form(("a", b"")), {}, 422),
        (form(("a", b"xyz"), end=""), {}, 400),
        (form(("a", b"xyz"))[:-30], {}, 400),
        (b"hello", {}, 400),
        (form(("a" * 20000, b"x")), {}, 400),
        (form(("a", b"x")), {"content_type": "application/json"}, 415),
        (form(("a", b"x")), {"content_type": "multipart/form-data"}, 415),
        (form(("../../etc/passwd", b"x")), {}, 422),
        (form(("/etc/passwd", b"x")), {}, 422),
        (form(("a", b"1"), ("a/b", b"2")), {}, 422),
    ],
)
def test_bad_forms_are_refused_with_the_right_status(
    tmp_path: Path, body: bytes, keywords: dict[str, object], status: int
) -> None:
    assert status_of(lambda: receive(tmp_path, body, **keywords)) == status  # type: ignore[arg-type]


def test_fields_that_are_no_files_are_not_written(tmp_path: Path) -> None:
    field = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="x"\r\n\r\nvalue\r\n'.encode()
    assert receive(tmp_path, field + form(("a", b"1"))).num_files == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_is_on_disk_before_the_upload_has_ended(tmp_path: Path) -> None:
    """What has come is in no list in memory, so an upload may be larger than that."""
    seen: list[int] = []
    body = form(("a.bin", b"x" * 500_000))

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]
            seen.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    asyncio.run(receive_files(f"multipart/form-data; boundary={BOUNDARY}", stream(), tmp_path, max_files=2,
                              max_bytes=1 << 20))  # fmt: skip
    assert seen[-2] >= 300_000


# -------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/a", "C:\\a", "\\\\host\\share", "..\\a", "a\0b", "a/..", ".."])
def test_names_that_lead_out_are_refused(name: str) -> None:
    assert status_of(lambda: safe_name(name)) == 422


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("study/IM 1.dcm", "study/IM 1.dcm"),
        ("./a//b", "a/b"),
        ("sub\\a.dcm", "sub/a.dcm"),
        ('a<b>:"|?*.dcm', "a_b______.dcm"),
        (".hidden", "_hidden"),
        ("new\nline\u202e.dcm", "new_line_.dcm"),
        ("", "file"),
        ("dots...", "dots"),
        ("Ünïcödé.nii.gz", "Ünïcödé.nii.gz"),
        ("x" * 300 + "_flair.nii.gz", "x" * 87 + "_flair.nii.gz"),
        ("/".join("abcdefghijklmnop"), "/".join("efghijklmnop")),
    ],
)
def test_odd_names_are_made_harmless(name: str, written: str) -> None:
    assert str(safe_name(name)) == written


def test_a_name_that_is_taken_gives_way(tmp_path: Path) -> None:
    free_path(tmp_path, safe_name("a/b")).write_text("1")
    assert free_path(tmp_path, safe_name("a/b")) == tmp_path / "a" / "2-b"


# ----------------------------------------------------------------------------------------------------------- archives


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return path


def test_an_archive_is_unpacked_beside_itself_and_removed(tmp_path: Path) -> None:
    archive(tmp_path / "study.zip", {"s1/IM1": b"1", "s1/IM2": b"2", "__MACOSX/s1/._IM1": b"x", "s1/.DS_Store": b"y"})
    unpack_all(tmp_path, LIMITS)
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"study/s1/IM1": b"1", "study/s1/IM2": b"2"}


def test_an_archive_is_known_by_its_bytes(tmp_path: Path) -> None:
    archive(tmp_path / "study.dcm", {"IM1": b"1"})
    unpack_all(tmp_path, LIMITS)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["IM1"]


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../../evil", "C:/evil", "..\\evil"])
def test_names_of_members_cannot_lead_out(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "a" / "b" / "upload"
    inside.mkdir(parents=True)
    archive(inside / "x.zip", {name: b"evil"})
    assert status_of(lambda: unpack_all(inside, LIMITS)) == 422
    assert not [path for path in tmp_path.rglob("*evil*")]


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as written:
        written.writestr(member, "/etc/passwd")
    assert status_of(lambda: unpack_all(tmp_path, LIMITS)) == 422
    assert not (tmp_path / "x" / "link").exists()


def test_encrypted_archives_are_refused_with_a_sentence(tmp_path: Path) -> None:
    raw = bytearray(archive(tmp_path / "x.zip", {"a": b"secret"}).read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + offset] |= 1
    (tmp_path / "x.zip").write_bytes(raw)
    with pytest.raises(WebProblem, match="encrypted") as caught:
        unpack_all(tmp_path, LIMITS)
    assert "without a password" in caught.value.remedy


@pytest.mark.parametrize("name", ["inner.zip", "inner.dcm"])
def test_archives_in_archives_are_refused_by_name_and_by_content(tmp_path: Path, name: str) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as written:
        written.writestr("a", b"1")
    archive(tmp_path / "x.zip", {name: inner.getvalue()})
    with pytest.raises(WebProblem, match="another archive"):
        unpack_all(tmp_path, LIMITS)


def test_a_bomb_is_stopped_by_its_ratio_before_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 4 << 20)
    archive(tmp_path / "x.zip", {"zeros": b"\0" * (50 << 20)})
    assert (tmp_path / "x.zip").stat().st_size < 100_000
    with pytest.raises(WebProblem, match="grows by more than"):
        unpack_all(tmp_path, LIMITS)
    assert (tmp_path / "x" / "zeros").stat().st_size < 20 << 20


def test_a_bomb_is_stopped_by_the_total_over_several_archives(tmp_path: Path) -> None:
    import os

    for n in range(4):
        archive(tmp_path / f"{n}.zip", {"a": os.urandom(1 << 20)}, zipfile.ZIP_STORED)
    assert status_of(lambda: unpack_all(tmp_path, Limits(20, 6 << 20))) == 413


def test_a_header_that_understates_the_size_does_not_help(tmp_path: Path) -> None:
    raw = bytearray(archive(tmp_path / "x.zip", {"a": b"\0" * (3 << 20)}).read_bytes())
    at = raw.index(b"PK\x01\x02") + 24  # size in the central directory
    raw[at : at + 4] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(raw)
    assert status_of(lambda: unpack_all(tmp_path, Limits(20, 1 << 20))) in (413, 422)
    written = tmp_path / "x" / "a"
    assert not written.exists() or written.stat().st_size <= 1 << 20


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    archive(tmp_path / "x.zip", {f"{n}": b"1" for n in range(30)})
    assert status_of(lambda: unpack_all(tmp_path, LIMITS)) == 413


@pytest.mark.parametrize("damage", ["cut", "flipped", "head only"])
def test_damaged_archives_are_refused(tmp_path: Path, damage: str) -> None:
    raw = bytearray(archive(tmp_path / "x.zip", {"a": bytes(range(256)) * 200}).read_bytes())
    if damage == "flipped":
        raw[60] ^= 0xFF
    (tmp_path / "x.zip").write_bytes({"cut": raw[: len(raw) // 2], "flipped": raw, "head only": raw[:4]}[damage])
    with pytest.raises(WebProblem, match="damaged"):
        unpack_all(tmp_path, LIMITS)


def test_uncommon_methods_are_refused(tmp_path: Path) -> None:
    archive(tmp_path / "x.zip", {"a": b"1" * 1000}, zipfile.ZIP_LZMA)
    with pytest.raises(WebProblem, match="uncommon method"):
        unpack_all(tmp_path, LIMITS)
