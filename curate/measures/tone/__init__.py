"""Classify a photo as color, grayscale, sepia or toned.

classify.py    `classify_tones`: the rules; `ToneMeasure`
features.py    the statistics that the rules and the regression read
weights.py     the weights of the regression, written by benchmarks/tone/train_regression.py
network.py     a small convolutional network for the cases in which the regression is in doubt
"""
