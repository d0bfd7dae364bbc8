"""A private step of the discriminator beside the same step without privacy, and beside Opacus, in one run.

python benchmarks/step.py [--batch 256] [--repeats 9] [--threads 2]
python benchmarks/step.py --of cnn                       # or patches: the networks of docs/migration-from-opacus.md
python benchmarks/step.py --of denoiser [--preset small] [--side 28] [--images 250]    # and sampling so many images

Paired: in each repetition every variant is timed once, in turn. Printed are the medians and the median of the
ratios, by the clock and by processor time (all threads): on a machine with other work the second is the steadier one.
Peak memory is what torch's allocator held beyond what stood there before the step; the workspace, which stays, is shown
below it. privgen's sums are exact integers of float32 gradients (docs/privacy.md, theorem 11); Opacus' are float32.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from privgen.gradients.clipped_sums import private_sums, workspace_on
from privgen.mechanism.error_feedback import banded_weights, clipped_weights
from privgen.mechanism.floored_gaussian import ExactGaussian

CLASSES = 10
# (scores, labels) → losses of the records.
Loss = Callable[[Tensor, Tensor], Tensor]


class Discriminator(nn.Module):
    """DCGAN's at 28×28 with a class head; GroupNorm instead of BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.GroupNorm(8, 128),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.head = nn.Linear(128 * 16, 1 + CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))  # (n, 1 + classes)


def loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Hinge on real images and cross-entropy of the class head, (n,)."""
    return functional.relu(1 - scores[:, 0]) + functional.cross_entropy(scores[:, 1:], labels, reduction="none")


def cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """A classifier's, (n,)."""
    return functional.cross_entropy(scores, labels, reduction="none")


def task_of(name: str, side: int) -> tuple[Callable[[], nn.Module], Loss]:
    """The network and its loss: the discriminator, or a classifier of docs/migration-from-opacus.md."""
    if name == "discriminator":
        return Discriminator, loss
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs" / "examples" / "migration"))
    problem = importlib.import_module("problem")
    return lambda: problem.network(name, side), cross_entropies


def variants(
    x: Tensor, y: Tensor, make: Callable[[], nn.Module] = Discriminator, loss: Loss = loss
) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    torch.manual_seed(0)
    plain, own, hooked, ghost = (make() for _ in range(4))
    found: dict[str, Callable[[], object]] = {"without privacy": lambda: _plain(plain, loss, x, y)}

    def of_one(v: Tensor, t: Tensor) -> Tensor:
        return loss(own(v[None]), t[None])[0]

    def one(norms: Tensor) -> tuple[Tensor, ...]:
        return (clipped_weights(norms, clip_norm=1.0, grid_step=2.0**-20),)

    def two(norms: Tensor) -> tuple[Tensor, ...]:
        return banded_weights(norms, clip_norm=0.25, residual_clip_norm=0.75, bands=4, grid_step=2.0**-22)

    noise, count = ExactGaussian(), sum(p.numel() for p in own.parameters())
    found["privgen, one weighting"] = lambda: private_sums(own, of_one, (x, y), one)
    found["privgen, two weightings"] = lambda: private_sums(own, of_one, (x, y), two)
    found["privgen, the step's noise"] = lambda: noise.floored(count, std=1.1 * 2**20)
    found["Opacus, hooks"] = _opacus_hooks(hooked, loss, x, y)
    found["Opacus, ghost clipping"] = _opacus_ghost(ghost, loss, x, y)
    return found


def _plain(net: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> None:
    net.zero_grad(set_to_none=True)
    loss(net(x), y).mean().backward()


def _opacus_hooks(net: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Callable[[], object]:
    from opacus.grad_sample import GradSampleModule

    wrapped = GradSampleModule(net, loss_reduction="sum")

    def step() -> None:
        wrapped.zero_grad(set_to_none=True)
        for p in wrapped.parameters():
            p.grad_sample = None
        loss(wrapped(x), y).sum().backward()
        samples = [p.grad_sample for p in wrapped.parameters()]
        norms = torch.stack([s.flatten(1).norm(dim=1) for s in samples]).norm(dim=0)
        weights = (1.0 / norms.clamp_min(1e-6)).clamp_max(1.0)
        for s in samples:
            torch.einsum("n,n...->...", weights, s)

    return step


def _opacus_ghost(net: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Callable[[], object]:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    wrapped = GradSampleModuleFastGradientClipping(
        net, loss_reduction="sum", max_grad_norm=1.0, use_ghost_clipping=True
    )

    def step() -> None:
        wrapped.zero_grad(set_to_none=True)
        losses = loss(wrapped(x), y)
        losses.sum().backward(retain_graph=True)
        coefficients = wrapped.get_clipping_coef()
        wrapped.zero_grad(set_to_none=True)
        wrapped.disable_hooks()
        (coefficients * losses).sum().backward()
        wrapped.enable_hooks()

    return step


def peak_memory(step: Callable[[], object]) -> int:
    """Bytes that torch's allocator held at most during a step, beyond those from before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    held = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def ratio(of: list[float], to: list[float]) -> float:
    """Median of the paired ratios."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--of", choices=["discriminator", "denoiser", "cnn", "patches"], default="discriminator")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--images", type=int, default=250)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    torch.set_num_threads(options.threads)
    x, y = torch.randn(options.batch, 1, options.side, options.side), torch.randint(CLASSES, (options.batch,))
    if options.of == "denoiser":
        of_denoiser(options, x, y)
        return
    make, loss_of_all = task_of(options.of, options.side)
    timed = variants(x, y, make, loss_of_all)
    clock, processor = times_of(timed, options.repeats)
    peaks = {name: peak_memory(step) for name, step in timed.items()}
    report(options.of, sum(p.numel() for p in make().parameters()), options.batch, clock, processor, peaks)


def times_of(
    timed: dict[str, Callable[[], object]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each variant, by the clock and by processor time."""
    clock: dict[str, list[float]] = {name: [] for name in timed}
    processor: dict[str, list[float]] = {name: [] for name in timed}
    for repeat in range(repeats + 1):
        for name, step in timed.items():
            begun, worked = time.perf_counter(), time.process_time()
            step()
            if repeat:  # the first is to warm up
                clock[name].append(time.perf_counter() - begun)
                processor[name].append(time.process_time() - worked)
    return clock, processor


def of_denoiser(options: argparse.Namespace, x: Tensor, y: Tensor) -> None:
    """Time and print the denoiser's step and its sampling."""
    import step_denoiser

    learner = step_denoiser.learner_of(options.preset, options.side)
    clock, processor = times_of(step_denoiser.variants(learner, x, y), options.repeats)
    count = sum(p.numel() for p in learner.denoiser.network.parameters())
    print(
        f"denoiser, {options.preset}, {options.side}×{options.side}, {count} parameters, batch {options.batch}, "
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.2f}"
    )
    one = "privgen, two weightings"
    print(f"{'':26s} {'clock':>11s} {'ratio':>7s} {'processor':>11s} {'ratio':>7s} {'of the private step':>21s}")
    first = next(iter(clock))
    for name in clock:
        print(f"{name:26s}{_times(name, first, clock, processor)} {ratio(processor[name], processor[one]):20.1%}")
    seconds, worked = step_denoiser.sampling(learner, options.images)
    each, all_of_them = 1e3 * worked / options.images, 1e4 * worked / options.images / 60
    print(
        f"sampling {options.images} images in {learner.settings.sampling_steps} steps: {seconds:.1f} s, {each:.1f} ms "
        f"of processor time each, so {all_of_them:.1f} minutes for 10 000"
    )


def _times(name: str, first: str, clock: dict[str, list[float]], processor: dict[str, list[float]]) -> str:
    return "".join(
        f" {1e3 * statistics.median(seconds[name]):8.1f} ms {ratio(seconds[name], seconds[first]):7.2f}"
        for seconds in (clock, processor)
    )


def report(
    of: str,
    count: int,
    batch: int,
    clock: dict[str, list[float]],
    processor: dict[str, list[float]],
    peaks: dict[str, int],
) -> None:
    """Print the table."""
    print(f"{of}, {count} parameters, batch {batch}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.2f}")
    print(f"{'':26s} {'clock':>11s} {'ratio':>7s} {'processor':>11s} {'ratio':>7s} {'peak':>10s} {'ratio':>7s}")
    first = next(iter(clock))
    for name in clock:
        times, peak = _times(name, first, clock, processor), peaks[name]
        print(f"{name:26s}{times} {peak / 1e6:7.1f} MB {peak / peaks[first]:7.2f}")
    space = workspace_on(torch.device("cpu"))
    print(f"workspace of the written gradients, which stays: {space.size / 1e6:.1f} MB")
    one = "privgen, two weightings"
    for name in ("privgen, one weighting", "Opacus, hooks", "Opacus, ghost clipping"):
        by_clock, by_processor = (ratio(seconds[name], seconds[one]) for seconds in (clock, processor))
        print(f"{name} ÷ {one}: {by_clock:.2f} by the clock, {by_processor:.2f} by processor time")


if __name__ == "__main__":
    main()
