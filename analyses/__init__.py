"""What is measured: an adapter or embeddings in, tidy pandas frames out."""
