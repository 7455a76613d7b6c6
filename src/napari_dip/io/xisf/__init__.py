"""XISF, the format of PixInsight.

Written from the public specification, XISF 1.0 (Pleiades Astrophoto), https://pixinsight.com/xisf.
"""
