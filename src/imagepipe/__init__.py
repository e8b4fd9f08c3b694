"""The command line of the image pipeline, and the local cloud it can be rehearsed on."""
