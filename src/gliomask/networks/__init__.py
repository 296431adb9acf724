"""The networks, in Keras: one file per family, and a catalogue that knows them without importing Keras."""
