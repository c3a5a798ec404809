"""A client of chaoschain written from docs/format.md, docs/domain.md and the vectors in schemas/golden."""
