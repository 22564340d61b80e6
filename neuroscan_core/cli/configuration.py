"""Commands about configuration, rules, models and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroscan_core.cli.console import ConfigFile, load


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    config = typer.Typer(help="Check the configuration file, or print what may stand in it.", no_args_is_help=True)
    config.command("check")(check)
    config.command("reference")(reference)
    config.command("example")(example)
    app.add_typer(config, name="config")
    rules = typer.Typer(help="Try the rules that choose a model.", no_args_is_help=True)
    rules.command("test")(test_rules)
    rules.callback()(_rules)
    app.add_typer(rules, name="rules")
    app.command()(models)
    app.command()(keys)
    app.command()(viewer_password)


def _rules() -> None:
    """Try the rules that choose a model."""


def check(file: Annotated[Path, typer.Argument(help="Configuration file.")]) -> None:
    """Check a configuration file; nothing is started."""
    load(file)
    typer.echo(f"{file} is valid.")


def reference() -> None:
    """Print every key with type, default, limits and meaning (Markdown)."""
    from neuroscan_core.config_reference import reference_markdown

    typer.echo(reference_markdown(), nl=False)


def example() -> None:
    """Print a complete, commented configuration file."""
    from neuroscan_core.config_reference import example_yaml

    typer.echo(example_yaml(), nl=False)


def test_rules(
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.")], config: ConfigFile = None
) -> None:
    """Show which rule would take each series, and why the others would not; nothing is sent."""
    from dicom_gateway.rules import rules_report

    for series in rules_report(files, load(config)):
        typer.echo(f"{series.series_instance_uid} ({series.num_files} files) {series.description}")
        for line in series.decision.trace:
            typer.echo(f"  {'+' if line.is_match else '-'} {line.rule}: {line.why_not or 'matches.'}")
        typer.echo(f"  => {series.decision.reason}")
        typer.echo(f"  It shows {series.verdict.role}. {series.verdict.why}")


def models(
    models_dir: Annotated[Path | None, typer.Option(help="Folder with more model bundles.")] = None,
    config: ConfigFile = None,
) -> None:
    """List the model bundles with what their cards say, and the engines that could execute them here."""
    from neuroscan_core.inference.availability import engines_here
    from neuroscan_core.inference.bundle import find_bundles
    from neuroscan_core.model_text import model_lines

    segmenter = load(config).segmenter
    for bundle in find_bundles(models_dir or segmenter.models_dir).values():
        for line in model_lines(bundle.card):
            typer.echo(line)
    typer.echo(f"Engines (segmenter.engine: {segmenter.engine})")
    for found in engines_here(segmenter):
        typer.echo(f"  {found}")
        if found.remedy:
            typer.echo(f"      {found.remedy}")


def keys(directory: Annotated[Path, typer.Argument(help="Folder for the key files.")]) -> None:
    """Make CURVE keys for a bus over TCP; keys that are there stay."""
    from neuroscan_core.bus.curve import generate_keys

    written = generate_keys(directory)
    for path in written:
        typer.echo(str(path))
    if not written:
        typer.echo("All keys are there already.")


def viewer_password() -> None:
    """Ask for a password and print what belongs into viewer.auth.password_hash; nothing is kept."""
    import sys

    from neuroscan_core.viewer.security.credentials import PasswordHash

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    typer.echo(f"'{PasswordHash.of(password)}'")
