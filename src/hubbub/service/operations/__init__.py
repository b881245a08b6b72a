"""What each call of the REST API does. A handler checks, builds an envelope and hands it over."""
