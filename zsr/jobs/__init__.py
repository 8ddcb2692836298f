"""What happens around the work of a job: its life, its environment, its GPU, its end."""
