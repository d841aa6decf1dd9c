"""How is a registry on the network reached without being trusted?"""
