"""The commands of `molflt`, one module each."""
