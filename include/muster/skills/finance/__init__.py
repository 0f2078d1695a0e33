"""Finance: reading invoices and checking them."""
