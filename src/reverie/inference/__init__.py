"""What tasks and evaluation share: pictures in, labels, latent spaces, codes, draws, and refusals."""
