"""The workflow: rules (which know the paths) and one thin script per rule."""
