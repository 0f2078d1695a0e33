"""What keeps work whole when something breaks: leases, the ledger of outside effects, circuit breakers."""
