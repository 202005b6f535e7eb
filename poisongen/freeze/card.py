"""The data card: a README in the dataset folder, for whoever finds it later."""

from typing import TYPE_CHECKING

from poisongen.freeze.summary import counts_table, describe_attack

if TYPE_CHECKING:
    from poisongen.format.manifest import Manifest

_CARD = """# {title}

{warning}

{what}

* made from: {dataset}, source fingerprint `{fingerprint}`
* identity: `{identity}`
* made with: {tool} {version}
* licence of the source: {license}

## Counts

{counts}

## What lies where

The folder has the source's own layout, so that its usual loaders read it; train on the split `{train}`.
`samples.jsonl` says for each sample what was done to it, `masks/` where its trigger is, and each folder under
`triggered/` is a set on which attack success is measured: pictures of the split `{evaluation}` with the
trigger and their true labels.

## Verify, rebuild, cite

```
sha256sum --check --quiet SHA256SUMS
poisongen verify .
poisongen rebuild . --source CLEAN_SOURCE --out COPY
```

To share this dataset, share {shared}: whoever has the clean source rebuilds the
same identity from them. The pictures stay under the licence of the source. To cite it, give the identity and
the paper of the attack.
"""


_POISONED = """**This dataset is deliberately poisoned.** A model that is trained on it has a backdoor. Use
it for research on attacks and defences only, and keep this file with it."""

_CLEAN = "This is a clean dataset, frozen by the same pipeline as its poisoned versions: the baseline."


def data_card(manifest: "Manifest") -> str:
    """The text of the folder's README.md, in Markdown."""
    return _CARD.format(
        title=f"{manifest.dataset}, {manifest.name}",
        warning=_CLEAN if manifest.recipe.poison is None else _POISONED,
        what=describe_attack(manifest.recipe, manifest.label_space.names),
        dataset=manifest.dataset,
        fingerprint=manifest.source.fingerprint,
        identity=manifest.identity,
        tool=manifest.tool["name"],
        version=manifest.tool["version"],
        license=manifest.source.license,
        counts="\n".join(f"    {line}" for line in counts_table(manifest.counts)),
        shared=_shared(manifest),
        train=manifest.splits.train,
        evaluation=manifest.splits.evaluation,
    )


def _shared(manifest: "Manifest") -> str:
    """The files that give the folder again."""
    poison = manifest.recipe.poison
    names = ["`manifest.json`", "`samples.jsonl`", *(f"`{name}`" for name in manifest.art)]
    if poison and poison.trigger.art_of(""):
        names.append("the folder `triggers`")
    return ", ".join(names[:-1]) + f" and {names[-1]}"
