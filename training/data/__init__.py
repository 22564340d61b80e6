"""Cases, readers, cached arrays, splits by patient, and sampling."""
