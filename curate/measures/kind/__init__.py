"""Classify a picture as a photo or a graphic.

classify.py    `classify_kinds`: the score and the class; `KindMeasure`
features.py    statistics of colors and edges, which decide the clear cases
weights.py     the weights of a logistic regression on them, written by benchmarks/kind/train_kind.py
"""
