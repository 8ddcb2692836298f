"""Training loops: pretraining, adversarial fine-tuning, the projection of a dual encoder."""
