"""Feature spaces for comparing pictures: named, versioned extractors, and the networks some of them need."""
