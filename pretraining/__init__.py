"""How the pocket world's own CLIP was trained: needed once, by nobody who reads. Not installed.

python -m pretraining.pretrain --out zscir/pocket/weights
python -m pretraining.judge --out zscir/pocket/weights/scores.json
"""
