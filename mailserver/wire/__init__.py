"""Pure pieces that the protocols share: lines, dots, addresses, SASL."""
