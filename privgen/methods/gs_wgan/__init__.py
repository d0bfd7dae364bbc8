"""GS-WGAN: sanitised gradients of generated images, from critics of shares of the records, charged as what they are."""
