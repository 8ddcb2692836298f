"""What tests share: copies of the project, small models and data, a browser, a cluster."""
