"""How the pocket world's backgrounds were drawn and its own CLIP was trained: needed once. Not installed.

python -m pretraining.backgrounds
python -m pretraining.pretrain --out zscir/pocket/weights
python -m pretraining.judge --out zscir/pocket/weights/scores.json
"""
