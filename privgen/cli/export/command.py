"""`privgen export`: a run's release as a folder for the Hugging Face Hub, which works without privgen."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  privgen export runs/fm --to fashion-generator
  privgen export runs/fm --to fashion-generator --license apache-2.0
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The folder to make.")
@click.option(
    "--license", "licence", help="Of the model, as the Hub names it, such as apache-2.0.  [default: none named]"
)
@click.option("--onnx", is_flag=True, help="Write model.onnx too; its random numbers are inputs.")
def command(run: Path, to: Path, licence: str | None, onnx: bool) -> None:
    """Write the release of RUN as a folder for the Hugging Face Hub.

    It has the weights as safetensors, a model card with the guarantee, the ledger, and a modeling file that needs torch
    alone. Only a run whose audit passes is exported; an insecure one is refused.
    """
    from privgen.cli.console import console
    from privgen.cli.export.hub_folder import export_run

    files = export_run(run, to, licence=licence, onnx=onnx)
    console.print(f"{to}: {', '.join(files)}", markup=False, soft_wrap=True)
    console.print(f"To publish it: hf upload NAME {to}", markup=False, soft_wrap=True)
