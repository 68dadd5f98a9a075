"""What tasks and evaluation share: pictures, labels, latent spaces, codes, sampling, and unsupported-model errors."""
