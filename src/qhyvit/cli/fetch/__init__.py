"""Commands that get images and weights, and check them."""
