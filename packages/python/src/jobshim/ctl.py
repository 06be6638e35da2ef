"""python -m jobshim.ctl: the program jobctl."""

from ._find import become

if __name__ == "__main__":
    become("jobctl")
