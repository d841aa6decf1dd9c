"""What a train claims, and when to believe it.

Everything two parties share about a train is a claim that is signed and must be verified before it is believed; so the
model of a train lives here, beside what verifies it.
"""
