"""Untrusted input: every JSON, YAML, `.npz` and ONNX file is read here, within bounds, before anything believes it."""
