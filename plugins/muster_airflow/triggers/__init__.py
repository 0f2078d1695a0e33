"""Triggers: the async lane, where a step is a coroutine in the triggerer and holds no worker."""
