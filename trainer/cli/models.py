"""The command models."""

import json

import click

from trainer.cli.options import picture_size


@click.command()
@click.option(
    "--classes",
    type=click.IntRange(1, 255),
    default=19,
    show_default=True,
    metavar="K",
    help="Of the dataset.",
)
@click.option(
    "--size", type=picture_size, default="2048x1024", show_default=True, metavar="WxH", help="Of a picture."
)
@click.option("--json", "as_data", is_flag=True, help="Print JSON.")
def models(classes: int, size: tuple[int, int], as_data: bool) -> None:
    """List the models with their parameters and multiply-adds.

    \b
    Example:
      python -m trainer models --classes 11 --size 480x360
    """
    from trainer.networks.models import as_json, measure, table, variants

    sizes = [measure(*variant, classes=classes, picture=size) for variant in variants()]
    if as_data:
        click.echo(json.dumps(as_json(sizes, classes, size), indent=1))
    else:
        click.echo(table(sizes, classes, size), nl=False)
