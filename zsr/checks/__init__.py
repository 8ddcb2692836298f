"""Whether results, data and the checkout are what they should be."""
