"""A pipeline that trains small networks by back-propagation and tracks when they learn XOR."""
