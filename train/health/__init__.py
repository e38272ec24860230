"""Detect training problems from the loss curve and the validations."""
