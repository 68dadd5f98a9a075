"""reverie: generative image models from a folder of pictures."""
