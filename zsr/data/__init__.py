"""Datasets: `readers/` turn a source into arrays, `sets/` say what each dataset is, `drawing/` makes images."""
