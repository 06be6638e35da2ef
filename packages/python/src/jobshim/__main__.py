"""python -m jobshim: the program jobshim."""

from ._find import become

if __name__ == "__main__":
    become("jobshim")
