"""The artifact store: content-addressed stages, their keys, and the run's folder."""
