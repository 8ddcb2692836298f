"""A dual encoder small enough to train in a test."""

ARCH = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "mlp_ratio": 2.0, "patch_size": 8, "image_size": 32},
    "stem": [8, 16, 16],
    "text_cfg": {"context_length": 12, "vocab_size": 68, "width": 32, "heads": 2, "layers": 1},
    "logit_scale": 14.3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "tokenizer": "words",
}
