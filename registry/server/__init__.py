"""How does an operator run a registry?"""
