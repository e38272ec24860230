"""The training loop.

- `start`: checks before a run starts or resumes
- `loop`: `fit`, which runs the steps and reacts to signals
- `step`: one optimizer step
- `state`: the state of a run, and how it is built, saved and restored
- `callbacks`: what follows each step on rank 0
- `logger`: log.jsonl, console and TensorBoard
- `validation`: baselines, validation, loss plot and sample sheets
- `recovery`: rollback to healthy weights
- `run_page`: run.html; `charts`: its charts
- `fabric`: device, precision and processes
"""
