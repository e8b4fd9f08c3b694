"""The confined process and everything that touches pixels: the only room that imports a decoder."""
