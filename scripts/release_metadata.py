"""See that an installed wheel and its sdist are whole: version, metadata, types, data files. For release-check."""

import sys
import tarfile
from importlib.metadata import metadata, version
from importlib.resources import files
from pathlib import Path

PACKAGES = ("accountant", "planners", "privgen")
IN_SDIST = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "privgen/report/templates/report.css")


def main(source: Path) -> None:
    """Raise SystemExit with the first thing that is missing."""
    about = metadata("privgen")
    for field in ("Summary", "License-Expression", "Requires-Python", "Project-URL", "Classifier", "Keywords"):
        require(about.get_all(field), f"the metadata have no {field}")
    require(str(about.get_payload()).strip(), "the metadata hold no README")
    heading = f"## {version('privgen')}"
    require(heading in (source / "CHANGELOG.md").read_text(encoding="utf-8"), f"CHANGELOG.md has no heading {heading}")
    require(
        f"version: {version('privgen')}" in (source / "CITATION.cff").read_text(encoding="utf-8"),
        "CITATION.cff names another version",
    )
    for package in PACKAGES:
        place = Path(str(files(package)))
        require(not place.is_relative_to(source), f"{package} was imported from the source tree, not from the wheel")
        require((place / "py.typed").is_file(), f"{package} has no py.typed")
        missing = [path for path in shipped(source / package) if not (place / path).is_file()]
        require(not missing, f"the wheel lacks files of {package}: {missing[:3]}")
    with tarfile.open(next((source / "dist").glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    require(names.issuperset(IN_SDIST), f"the sdist lacks {sorted(set(IN_SDIST) - names)}")
    print(f"privgen {version('privgen')}: metadata, types and files are whole")


def shipped(package: Path) -> list[Path]:
    """Every file below a package, relative to it, that is no build product."""
    return [p.relative_to(package) for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def require(holds: object, problem: str) -> None:
    """End with the problem unless it holds."""
    if not holds:
        raise SystemExit(f"Not ready for a release: {problem}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
