"""Model bundles and what executes them: adapters of `ports.InferenceEngine`."""
