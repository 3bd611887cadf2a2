"""Pictures of what multisampling keeps: patterns, animations, feature maps, and those of a run in TensorBoard."""
