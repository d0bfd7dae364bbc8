"""An evaluation's result as lines of text; each number has its protocol beside it.

>>> result = {"protocol": "privgen-1", "deviations": [], "samples": 10000, "dataset": "mnist", "test_images": 10000,
...           "fid": {"value": 12.345, "features": "lenet", "real": 60000, "generated": 10000}}
>>> list(lines(result))
['FID (lenet): 12.35 (protocol privgen-1: 10000 images against 60000 real training images of mnist)']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_MEANING = {
    "gen2real": "",
    "real2real": ", the ceiling: trained on as many real images",
    "real2gen": ", marked real2gen: trained on real, tested on generated images; says nothing of diversity",
}


def lines(result: dict[str, Any]) -> Iterator[str]:
    """One line a number, in a fixed order.

    Args:
        result: of `privgen.metrics.evaluation.evaluate`, with `test_images`.
    """
    by = "; ".join([f"protocol {result['protocol']}", *(f"but {text}" for text in result["deviations"])])
    for name, meaning in _MEANING.items():
        for classifier, summary in result.get(name, {}).items():
            count = len(summary["values"])
            spread = f" ± {summary['std']:.2%} over {count} seeds" if count > 1 else ", one seed"
            yield (f"{name} {classifier}: {summary['mean']:.2%}{spread} ({by}: {_tested(name, result)}{meaning})")
    texts: dict[str, Callable[[dict[str, Any], dict[str, Any], str], str]] = {
        "fid": _fid,
        "kid": _kid,
        "is": _inception_score,
        "coverage": _coverage,
        "copying": _copying,
    }
    for name, text in texts.items():
        if name in result:
            yield text(result[name], result, by)


def _tested(name: str, result: dict[str, Any]) -> str:
    if name == "real2gen":
        return f"{result['samples']} generated images"
    generated = f"{result['samples']} balanced images, " if name == "gen2real" else ""
    return f"{generated}real test set of {result['dataset']}, {result['test_images']} images"


def _fid(found: dict[str, Any], result: dict[str, Any], by: str) -> str:
    return (
        f"FID ({found['features']}): {found['value']:.2f} ({by}: {found['generated']} images against "
        f"{found['real']} real training images of {result['dataset']})"
    )


def _kid(found: dict[str, Any], result: dict[str, Any], by: str) -> str:
    return (
        f"KID ({found['features']}): {found['mean']:.4g} ± {found['std']:.2g} over {found['subsets']} subsets of "
        f"{found['subset_size']} ({by})"
    )


def _inception_score(found: dict[str, Any], result: dict[str, Any], by: str) -> str:
    return (
        f"IS ({found['classifier']}): {found['mean']:.2f} ± {found['std']:.2f} over {found['splits']} splits, "
        f"at most {found['classes']} ({by})"
    )


def _coverage(found: dict[str, Any], result: dict[str, Any], by: str) -> str:
    return (
        f"precision {found['precision']:.2%}, recall {found['recall']:.2%} (k = {found['k_precision']}), density "
        f"{found['density']:.3f}, coverage {found['coverage']:.2%} (k = {found['k_coverage']}) by {found['features']} "
        f"({by}: {found['generated']} images, {found['real']} real training images)"
    )


def _copying(found: dict[str, Any], result: dict[str, Any], by: str) -> str:
    return (
        f"copying by {found['features']}: nearer to a training image than a held-out image is: "
        f"{found['nearer_than_held_out']:.1%} (fresh real images: 50 %); nearer than the nearest 1 % of those: "
        f"{found['below_first_percent']:.1%} (fresh: 1 %); equal to a training image: {found['identical']} of "
        f"{found['generated']} (held out: {found['held_out_identical']} of {found['held_out']}) ({by})"
    )
