"""Lambda's entry points, one module each, so that a function starts with nothing that it does not use."""
