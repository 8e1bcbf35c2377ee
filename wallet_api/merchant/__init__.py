"""Businesses: tills, their people and keys, invoices, refunds and settlements."""
