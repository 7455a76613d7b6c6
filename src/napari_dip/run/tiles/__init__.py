"""Large images: divided into tiles, which are restored one after another and blended."""
