"""The mobile API: what phones ask, one file a resource."""
