"""Public Python API of stage two: one function per command, with the command's options as keyword arguments.

`import train` offers all of them: `train.fit(...)`. Each function checks its arguments and calls the package that does
the work.

- `train.api.training`: train a colorizer, load the photos for it
- `train.api.checkpoints`: load a checkpoint, export it as an ONNX model
- `train.api.evaluation`: evaluate a checkpoint, compare colorized pictures with their originals
- `train.api.health`: diagnose a loss curve
- `train.api.arguments`: the argument checks that these functions share
"""
