"""A trainer of one's own for `training.command`: TRL's SFTTrainer in a script, also over several GPUs by torchrun.

Unlike `trl sft`, it trains the adapter of the step before further, and it goes on from its newest checkpoint.

    torchrun --nproc_per_node 4 train_adapter.py --data {data} --model {model} --adapter {adapter} --output {output}
        --checkpoints {checkpoints} --epochs {epochs} --learning_rate {learning_rate} --seed {seed}
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from datasets import Image, List, load_dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from trl import SFTConfig, SFTTrainer

parser = argparse.ArgumentParser()
for name in ("data", "model", "adapter", "output", "checkpoints"):
    parser.add_argument(f"--{name}")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--learning_rate", type=float, default=2e-4)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--rank", type=int, default=16)
parser.add_argument("--batch_size", type=int, default=8)
given = parser.parse_args()

rows = load_dataset("json", data_files=given.data, split="train")
has_images = "images" in rows.column_names
if has_images:
    rows = rows.cast_column("images", List(Image()))
kind = AutoModelForImageTextToText if has_images else AutoModelForCausalLM
model = kind.from_pretrained(given.model, dtype="auto")
lora = LoraConfig(r=given.rank, lora_alpha=2 * given.rank, target_modules="all-linear", task_type="CAUSAL_LM")
if given.adapter:
    model, lora = PeftModel.from_pretrained(model, given.adapter, is_trainable=True), None

settings = SFTConfig(
    output_dir=given.checkpoints,
    num_train_epochs=given.epochs,
    learning_rate=given.learning_rate,
    per_device_train_batch_size=given.batch_size,
    seed=given.seed,
    assistant_only_loss=True,
    max_length=None if has_images else 2048,
    logging_steps=1,
    save_steps=50,
    report_to="none",
    bf16=torch.cuda.is_available(),
    use_cpu=not torch.cuda.is_available(),
)
trainer = SFTTrainer(model=model, args=settings, train_dataset=rows, peft_config=lora)
# The state is written last, so a checkpoint that has one is whole.
done = [path.parent for path in Path(given.checkpoints).glob("checkpoint-*/trainer_state.json")]
newest = max(done, key=lambda path: int(path.name.split("-")[1]), default=None)
trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
trainer.save_model(given.output)
