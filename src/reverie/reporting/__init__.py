"""Output for people: the report of a run, its model card, charts."""
