"""Classify a picture as a photo or a graphic.

classify.py    `classify_kinds`: the score and the class; `KindMeasure`
network.py     two networks that read the picture at 64 and at 224 px; `small.onnx` and `large.onnx`
statistics.py  numbers that describe the picture beside the class: colors, flat areas, strong edges
"""
