"""The steps of Q-HyViT's search, each a method of its own, in the order of the ablation (arXiv 2303.12557, Table IV, and two more)."""

PARTS = {"qhyvit-scale": "scale", "qhyvit-granularity": "+ granu-\nlarity", "qhyvit-scheme": "+ scheme"}
STEPS = PARTS | {"qhyvit": "+ bridge", "qhyvit-cv": "+ cross-\nvalidation"}  # the paper's whole method, and ours
