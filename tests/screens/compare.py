#!/usr/bin/env python3
"""Compares a captured screen with the recorded one: the same text at the same place.

usage: compare.py RECORDED CAPTURED      prints what differs; exits 1 when something does

Figures differ in their last digit between instruction sets, so a number with a point or an exponent may be off by one
unit of its last digit or 5 %, and a bar glyph by one level. Everything else, whole numbers included, is exact. What
legitimately varies (rates, times, what machine it is) was masked before."""
import re
import sys

NUMBER = re.compile(r"\d+\.\d+(?:e-?\d+)?|\d+e-?\d+")
BARS = " ▁▂▃▄▅▆▇█"


def unit(text):
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def same_number(a, b):
    return abs(float(a) - float(b)) <= max(1.01 * unit(a), 1.01 * unit(b), 0.05 * abs(float(a)))


def same_text(a, b):
    return len(a) == len(b) and all(
        x == y or (x in BARS and y in BARS and abs(BARS.index(x) - BARS.index(y)) == 1) for x, y in zip(a, b)
    )


def same_line(a, b):
    numbers = NUMBER.findall(a), NUMBER.findall(b)
    if len(numbers[0]) != len(numbers[1]):
        return False
    if not all(same_number(x, y) for x, y in zip(*numbers)):
        return False
    # A figure of another width moves the blanks before it.
    blank = [re.sub(r" *\0", "\0", NUMBER.sub("\0", line)) for line in (a, b)]
    return same_text(*blank)


def main():
    recorded, captured = (open(name, encoding="utf-8").read().splitlines() for name in sys.argv[1:3])
    bad = 0
    for row in range(max(len(recorded), len(captured))):
        a = recorded[row] if row < len(recorded) else ""
        b = captured[row] if row < len(captured) else ""
        if not same_line(a, b):
            bad += 1
            print(f"line {row + 1}\n  recorded: {a}\n  captured: {b}")
    sys.exit(bad > 0)


main()
