"""Subjects: what is attacked, how it is opened, and where its gradients come from."""
