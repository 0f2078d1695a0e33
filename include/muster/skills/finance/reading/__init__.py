"""Reading an invoice from the formats it arrives in."""
