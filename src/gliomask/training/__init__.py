"""From labelled cases to weights and a model file: the only part that trains."""
