"""Results on disk, whole or not at all: folders of JSON, safetensors and parquet.

May import: errors.
"""
