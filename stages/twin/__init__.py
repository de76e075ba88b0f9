"""The twin: a torch module made from an ONNX graph."""
