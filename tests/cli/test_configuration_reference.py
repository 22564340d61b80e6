"""The example file and the reference say what the configuration really is."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import yaml

from neuroscan_core.config import NodeConfig, load_config, parse_config, save_config
from neuroscan_core.config_reference import example_yaml, key_paths, reference_markdown
from neuroscan_core.domain.errors import ConfigurationError


def test_example_holds_the_defaults(repository: Path) -> None:
    assert load_config(repository / "config" / "neuroscan.example.yaml") == NodeConfig()


def test_files_in_the_repository_are_the_generated_ones(repository: Path) -> None:
    assert (repository / "config" / "neuroscan.example.yaml").read_text() == example_yaml(), "make docs"
    assert (repository / "docs" / "configuration.md").read_text() == reference_markdown(), "make docs"


@pytest.mark.parametrize("path", sorted(set(key_paths())))
def test_example_and_reference_name_every_key(path: str) -> None:
    key = path.rsplit(".", 1)[-1]
    assert re.search(rf"^[# -]*{key}:", example_yaml(), re.MULTILINE)
    assert f"| `{key}` |" in reference_markdown()


def test_every_key_of_the_example_has_a_comment_above_it() -> None:
    lines = example_yaml().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"^[ -]*\w+:", line):
            assert above.lstrip().startswith("# "), line


def test_commented_destination_of_the_example_is_valid_once_uncommented() -> None:
    text = example_yaml().replace("destinations: []\n", "destinations:\n")
    before, _, after = text.partition("destinations:\n")
    block, rest = [], after.splitlines()
    while rest[0].startswith("#  "):
        block.append(rest.pop(0).removeprefix("# "))
    config = parse_config(yaml.safe_load(before + "destinations:\n" + "\n".join(block + rest)))
    assert [destination.name for destination in config.destinations] == ["pacs"]


def test_wrong_key_is_named_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("gateway: {prot: 104}\nseries: {quiet_s: -1}\n")
    with pytest.raises(ConfigurationError, match=r"gateway\.prot.*series\.quiet_s"):
        load_config(path)


def test_a_configuration_that_is_saved_is_read_back_and_nobody_else_reads_it(tmp_path: Path) -> None:
    config = parse_config(
        {
            "state_dir": "/data",
            "viewer": {"auth": {"password_hash": "scrypt", "idle_minutes": 5}, "uploads": {"max_files": 7}},
            "rules": [{"name": "all", "when": {"Modality": "MR", "EchoTime": {"min": 80}}, "model": "m"}],
            "destinations": [{"name": "pacs", "host": "here", "seg_format": "LABELMAP"}],
        }
    )
    path = tmp_path / "folder" / "saved.yaml"
    for saved in (NodeConfig(), config):
        save_config(saved, path)
        assert load_config(path) == saved
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="Cannot write"):
        save_config(config, path / "below a file")
