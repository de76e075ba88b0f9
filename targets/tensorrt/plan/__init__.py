"""What a TensorRT plan is: its record, seal, compatibility, bindings and layers."""
