"""`privgen export`: a folder that works where privgen is not, of runs whose promise holds and of no others."""

import json
import os
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from privgen import load_generator
from privgen.catalogue import METHODS, method_named
from privgen.cli import main
from privgen.cli.export.hub_folder import export_run
from privgen.cli.export.inlined import inlined_source
from privgen.cli.export.onnx import drawn_shapes, write_onnx
from privgen.cli.export.standalone import read_safetensors
from privgen.errors import RunError
from privgen.training.insecure import seeded
from privgen.training.loop import run


@pytest.fixture(scope="module")
def diffusion_run(tmp_path_factory, lab):
    """A run of the other method."""
    method = method_named("diffusion")
    plan = lab.plan(method=METHODS["diffusion"].planned, warm_start=0.5, iterations=2)
    settings = method.default_settings(200, warm_start=True).to_json()
    config = method.settings_from_json({**settings, "preset": "tiny", "physical_batch": 24})
    out = tmp_path_factory.mktemp("diffusion") / "run"
    with lab.begin(out, plan=plan, method=method, config=config) as session:
        for _ in run(session):
            pass
    return out


@pytest.fixture(scope="module")
def exported(halted_run, diffusion_run, tmp_path_factory):
    """The folder of each method's run, and the run."""
    made = {}
    for method, of in (("gan", halted_run), ("diffusion", diffusion_run)):
        to = tmp_path_factory.mktemp("hub") / method
        export_run(of, to, licence="apache-2.0")
        made[method] = (to, of)
    return made


# Nothing but torch and the standard library can be imported; numpy is no need of torch's.
ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"privgen", "accountant", "planners", "safetensors", "numpy", "click", "rich"}:
            raise ModuleNotFoundError(f"{name} is not here")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, ".")
import torch
torch.set_num_threads(1)
from modeling_privgen import load
generator = load()
rows = torch.Generator().manual_seed(5)
labels = torch.arange(6) % 3
with torch.no_grad():
    images = generator.sampler(labels, lambda shape: torch.randn(tuple(shape), generator=rows))
torch.save({"images": images, "shape": tuple(generator(4, seed=1).shape), "same": bool((generator(4, seed=1) ==
    generator(4, seed=1)).all()), "names": generator.class_names}, "../made.pt")
"""


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_the_modeling_file_makes_the_same_images_where_torch_is_all_there_is(method, exported):
    folder, of = exported[method]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = torch.load(folder.parent / "made.pt", weights_only=True)
    rows, labels = torch.Generator().manual_seed(5), torch.arange(6) % 3
    with torch.no_grad():
        ours = load_generator(of).sampler(labels, lambda shape: torch.randn(tuple(shape), generator=rows))
    assert torch.equal(made["images"], ours)
    assert (made["shape"], made["same"], made["names"]) == ((4, 16, 16, 1), True, ["a", "b", "c"])


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_the_card_has_metadata_that_the_hub_reads_and_the_promise_in_words(method, exported):
    hub = pytest.importorskip("huggingface_hub")
    folder, of = exported[method]
    card = hub.ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    assert "differential-privacy" in card.data.tags
    audit = json.loads(CliRunner().invoke(main, ["audit", str(of), "--format", "json"]).stdout)
    shown = card.text.split("It is **(")[1].split(",")[0]
    assert audit["spent"]["epsilon"] <= float(shown) <= 5.0
    for words in ("N = 200", "add-or-remove-one", "a, b, c", "Limits", "Intended use", "privgen audit ledger.jsonl"):
        assert words in card.text


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_onnx_runtime_makes_the_same_hundred_images(method, exported, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    sampler = load_generator(exported[method][1]).sampler
    write_onnx(sampler, tmp_path / "model.onnx")
    labels, rows = torch.arange(100) % 3, torch.Generator().manual_seed(6)
    numbers = [torch.randn(100, *shape, generator=rows) for shape in drawn_shapes(sampler)]
    given = iter(numbers)
    with torch.no_grad():
        ours = sampler(labels, lambda shape: next(given))
    inputs = {"labels": labels.numpy(), **{f"normal_{at}": one.numpy() for at, one in enumerate(numbers)}}
    (theirs,) = runtime.InferenceSession(tmp_path / "model.onnx").run(None, inputs)
    # Sums are taken in another order; a pixel of 256 is 0.008 wide.
    assert torch.allclose(torch.from_numpy(theirs), ours, atol=1e-3)


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_the_ledger_that_is_exported_can_be_audited(method, exported):
    done = CliRunner().invoke(main, ["audit", str(exported[method][0] / "ledger.jsonl")])
    assert done.exit_code == 0, done.output
    assert "PASSED" in done.stdout


def test_weights_and_configuration_are_the_released_ones(exported):
    folder, of = exported["gan"]
    released = load_file(of / "release" / "generator.safetensors")
    found = read_safetensors(folder / "model.safetensors")
    assert found.keys() == released.keys()
    assert all(torch.equal(found[name], released[name]) for name in found)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "privgen" and config["class_names"] == ["a", "b", "c"]


def test_nothing_of_the_private_half_is_in_it(exported):
    for folder, of in exported.values():
        inside = [p for p in (of / "private").rglob("*") if p.is_file() and p.stat().st_size]
        # A checkpoint's copy of what would be released is, at the end, what is released.
        private = {p.read_bytes() for p in inside if p.name != "generator.safetensors"}
        assert not private & {p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_insecure_run_is_refused_and_nothing_is_written(lab, tmp_path):
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=4), **seeded(3)) as session:
        for _ in run(session):
            pass
    with pytest.raises(RunError, match=r"audit is failed .*this run protects nobody"):
        export_run(tmp_path / "run", tmp_path / "hub")
    assert not list(tmp_path.glob("*hub*"))


def test_a_run_that_has_not_halted_is_refused(lab, tmp_path):
    with lab.begin(tmp_path / "run") as session:
        lab.stop_after(session, 2)
    with pytest.raises(RunError):
        export_run(tmp_path / "run", tmp_path / "hub")


def test_a_generator_without_a_ledger_is_refused(halted_run, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("generator.safetensors", "generator.json"):
        (alone / name).write_bytes((halted_run / "release" / name).read_bytes())
    done = CliRunner().invoke(main, ["export", str(alone), "--to", str(tmp_path / "hub")])
    assert done.exit_code == 1 and "There is no ledger" in done.stderr
    assert not (tmp_path / "hub").exists()


def test_other_weights_than_the_ledger_names_are_refused(halted_run, tmp_path):
    copy = tmp_path / "release"
    copy.mkdir()
    for path in (halted_run / "release").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    tensors = load_file(copy / "generator.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, copy / "generator.safetensors")
    with pytest.raises(RunError):
        export_run(copy, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_a_folder_that_stands_is_never_written_into(halted_run, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FileExistsError):
        export_run(halted_run, tmp_path)


def test_safetensors_are_read_without_their_library(tmp_path):
    written = {
        "a": torch.randn(3, 4), "empty": torch.zeros(0, 2), "n": torch.tensor(7), "h": torch.ones(2).half(),
        "b": torch.tensor([True, False]),
    }  # fmt: skip
    save_file(written, tmp_path / "x.safetensors")
    found = read_safetensors(tmp_path / "x.safetensors")
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in written.items()
    )


def test_one_file_cannot_hold_two_things_of_one_name():
    # Both methods have a table PRESETS of their own.
    from privgen.methods.diffusion.release import DiffusionSampler
    from privgen.methods.gan.release import GanSampler

    with pytest.raises(RunError, match="one file cannot hold both"):
        inlined_source(GanSampler, DiffusionSampler)
