"""What one node costs: see README.md. It measures the service from outside and never imports it."""
