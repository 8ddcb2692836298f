"""What methods are made of; the methods themselves are one file each in the folder above."""
