"""The scenarios, one module each: what is done to the service, and which figures are held to what.

Each draws its whole schedule of faults from the seed before it begins, so that the same seed does
the same things to the same slots in the same order; what they meet there depends on the machine.
"""
