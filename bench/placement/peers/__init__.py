"""Published heuristics for virtual network embedding, written from their papers: the peers of row 8.

:mod:`ranking` holds the node rankings (GRC, NRM, random walk), :mod:`mapping` the ways a ranking becomes an embedding.
"""
