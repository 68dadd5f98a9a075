"""Spaces that pictures are compared in: named, versioned extractors, and the networks some of them need."""
