"""What runs a network on arrays: one module per engine, all behind one protocol."""
