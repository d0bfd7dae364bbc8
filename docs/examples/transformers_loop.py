"""A private training driven by Hugging Face's `Trainer`: its arguments, optimiser, callbacks, logs and evaluation.

`train` is the one method that changes: the steps are those of a `PrivateTraining` over the trainer's own model,
optimiser and data set. Evaluation stays the trainer's, on records that are public.

Run it: python docs/examples/transformers_loop.py runs/transformers          (pip install transformers accelerate)
"""

import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification
from transformers.trainer_utils import TrainOutput

from privgen import PrivateTraining

Record = dict[str, Tensor]


def per_record(model: nn.Module, record: Record) -> Tensor:
    logits = model(pixel_values=record["pixel_values"][None]).logits[0]
    return nn.functional.cross_entropy(logits, record["labels"])


class PrivateTrainer(Trainer):
    """A trainer whose training is private.

    Args:
        privacy: arguments of `PrivateTraining` beside model, optimiser and data set.
    """

    def __init__(self, *args: Any, privacy: dict[str, Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self.privacy = privacy

    def train(self, *_: Any, **__: Any) -> TrainOutput:
        training = PrivateTraining(self.model, self.create_optimizer(), self.train_dataset, **self.privacy)
        handler, self.state.max_steps = self.callback_handler, training.plan.iterations
        self.control = handler.on_train_begin(self.args, self.state, self.control)
        for report in training:
            self.state.global_step = report.step
            self.control = handler.on_step_end(self.args, self.state, self.control)
            if self.control.should_log:
                self.log({"private_step": float(report.step)})
            if self.control.should_training_stop and report.step < training.plan.iterations:
                training.stop()
        self.control = handler.on_train_end(self.args, self.state, self.control)
        return TrainOutput(self.state.global_step, float("nan"), {})


def main(out: Path) -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    records = [{"pixel_values": x, "labels": y} for x, y in zip(images, torch.tensor(digits.target), strict=True)]
    config = ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=10,
    )  # fmt: skip
    arguments = TrainingArguments(
        output_dir=str(out / "trainer"), learning_rate=0.01, logging_steps=5, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = PrivateTrainer(
        ViTForImageClassification(config), arguments, train_dataset=records[:1500], eval_dataset=records[1500:],
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
        privacy={"loss": per_record, "out": out / "private", "epsilon": 8.0, "delta": 1e-5, "batch_size": 250,
                 "steps": 20},
    )  # fmt: skip
    done = trainer.train()
    print(f"{done.global_step} private steps")
    print(f"accuracy on held-out records: {trainer.evaluate()['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/transformers"))
