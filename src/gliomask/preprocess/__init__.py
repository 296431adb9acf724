"""From a case to what a network takes; arrays in, arrays out."""
