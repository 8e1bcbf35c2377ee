"""The door: who may ask the ledger, and the HTTP that they ask it by."""
