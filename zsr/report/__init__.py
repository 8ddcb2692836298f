"""Tables, figures and the page: three stages that share no code but small helpers, so that each reruns alone."""
