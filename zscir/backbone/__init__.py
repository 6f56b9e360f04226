"""The frozen CLIP: load it; encode images, texts and composed prompts (chapter 1)."""

from zscir.backbone.clip import Backbone, find_backbone, load_backbone
