"""The attack engine and its parts; the attacks themselves are one file each in the folder above."""
