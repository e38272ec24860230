"""Evaluation of a checkpoint on held-out photos.

- `evaluator`: scores per photo and their summary, for the network and for two baselines
- `feature_metrics`: LPIPS and FID, with networks whose files the user names
- `training_photos`: counts the photos that the network was trained on
- `report`: the table, the JSON and the HTML page
"""
