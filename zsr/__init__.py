"""zsr, the zero-shot robustness workbench: CLIP, its data, its defences and its attacks, in one harness."""
