"""What people and the reconciler do about a run: cancel, redo, reconcile, look into, forget."""
