"""The live market of crypto venues: their feeds as minutes, their candles as the past."""
