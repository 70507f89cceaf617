#!/usr/bin/env python3
"""Makes README's picture: opens the sample model in a terminal (tmux), works a little, and writes what the terminal then
shows as an SVG. Python's standard library only.

usage: make_screenshot.py PROGRAM OUT.svg"""
import html
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import unicodedata

COLS, ROWS = 120, 40
CHAR_W, LINE_H, FONT, PAD, BAR = 8.4, 18, 14, 14, 30
BACKGROUND, FOREGROUND = "#14171c", "#d5dae2"
BASE = "#1d2127 #e06c75 #8cc265 #d8985f #5fa8e8 #c678dd #42b3c2 #d5dae2".split()
BRIGHT = "#5c6370 #ff7b86 #a5e075 #f0b05f #61b8ff #de8cf2 #4cd1e0 #ffffff".split()
SOCKET = ["tmux", "-L", f"tqexplore-picture-{os.getpid()}", "-f", "/dev/null"]


def tmux(*args):
    return subprocess.run([*SOCKET, *args], stdout=subprocess.PIPE, text=True, check=True).stdout


def screen():
    return tmux("capture-pane", "-p", "-t", "0")


def wait(*texts, gone=()):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        now = screen()
        if all(t in now for t in texts) and not any(t in now for t in gone):
            return
        time.sleep(0.1)
    sys.exit(f"{texts} did not come:\n{screen()}")


def keys(*names):
    tmux("send-keys", "-t", "0", *names)


def typed(text):
    tmux("send-keys", "-t", "0", "-l", text)


def settled():
    time.sleep(0.3)
    wait(gone=("evaluating", "quantizing", "measuring", " …"))


def change(filter_text, *after):
    """Filters, marks, presses keys, and clears the filter and the marks."""
    keys("/", "C-u")
    typed(filter_text)
    keys("Enter", "*", *after)
    settled()
    keys("Escape")
    time.sleep(0.2)
    keys("-")
    settled()


def work(program):
    command = f"env LANG=C.UTF-8 TERM=screen-256color {shlex.quote(program)}"
    tmux("new-session", "-d", "-x", str(COLS), "-y", str(ROWS), command)
    tmux("set-option", "-g", "status", "off")
    tmux("resize-window", "-t", "0", "-x", str(COLS), "-y", str(ROWS))
    wait("rel.MSE", "KLD     0")
    settled()
    change("*", "4")
    change("*down_proj", "6")
    change("[37].*_proj", "8")
    change("0.*in_proj*", "8")
    keys("c")
    typed("Which is larger, 47 or 52?")
    keys("Enter")
    wait("tok/s")
    typed("Spell 'lamp' backwards.")
    keys("Enter")
    time.sleep(1)
    keys("Escape")
    wait("[Layers]")
    keys("g", "j", "j", "j", "6")
    settled()
    keys("j", "Space", "Space", "k", "k", "k", "C-l")
    settled()
    time.sleep(0.5)
    settled()
    shown = tmux("capture-pane", "-p", "-e", "-t", "0")
    keys("q", "y")
    return shown


def colour_256(n):
    if n < 16:
        return (BASE + BRIGHT)[n]
    if n >= 232:
        return "#" + f"{8 + 10 * (n - 232):02x}" * 3
    n -= 16
    return "#" + "".join(f"{v * 40 + 55 if v else 0:02x}" for v in (n // 36, n // 6 % 6, n % 6))


def styled(line, style):
    """The runs of a line: (text, style); style goes on where the line before ended."""
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if not part.startswith("\x1b["):
            part = re.sub(r"\x1b\(B|\x0f", "", part)
            if part:
                yield part, dict(style)
            continue
        codes = [int(c or 0) for c in part[2:-1].split(";")]
        while codes:
            c = codes.pop(0)
            if c == 0:
                style.clear()
            elif c in (1, 2, 4, 7):
                style[c] = True
            elif c in (22, 24, 27):
                for k in {22: (1, 2), 24: (4,), 27: (7,)}[c]:
                    style.pop(k, None)
            elif c in (38, 48) and codes[:1] == [5]:
                style["fg" if c == 38 else "bg"] = colour_256(codes[1])
                codes = codes[2:]
            elif 30 <= c <= 37 or 40 <= c <= 47:
                style["fg" if c < 40 else "bg"] = BASE[c % 10]
            elif 90 <= c <= 97:
                style["fg"] = BRIGHT[c - 90]
            elif c in (39, 49):
                style.pop("fg" if c == 39 else "bg", None)


def width(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def block(c, x, y, fill):
    """Block elements as rectangles: fonts leave gaps between them."""
    eighths = "▁▂▃▄▅▆▇█".find(c) + 1
    if eighths:
        h = LINE_H * eighths / 8
        return f'<rect x="{x:.1f}" y="{y + LINE_H - h:.2f}" width="{CHAR_W}" height="{h:.2f}" fill="{fill}"/>'
    return f'<rect x="{x:.1f}" y="{y}" width="{CHAR_W}" height="{LINE_H}" fill="{fill}" opacity=".35"/>'  # ░


def lines_of(c, x, y, fill):
    """Box drawing as lines through the middle of the cell."""
    arms = {"─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu"}
    arms.update({"├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "udlr"})
    mx, my = x + CHAR_W / 2, y + LINE_H / 2
    ends = {"l": (x, my), "r": (x + CHAR_W, my), "u": (mx, y), "d": (mx, y + LINE_H)}
    path = "".join(f"M{mx:.1f} {my:.1f}L{ends[a][0]:.1f} {ends[a][1]:.1f}" for a in arms[c])
    return f'<path d="{path}" stroke="{fill}"/>'


def run_svg(text, style, x, y):
    fg, bg = style.get("fg", FOREGROUND), style.get("bg")
    if style.get(7):
        fg, bg = bg or "#e8ecf2", "#2f4254"
    if style.get(2):
        fg = "#8a919c"
    out = []
    if bg:
        out.append(f'<rect x="{x:.1f}" y="{y}" width="{width(text) * CHAR_W:.1f}" height="{LINE_H}" fill="{bg}"/>')
    # Words stand where the terminal has them, whatever the font's width.
    for piece in re.finditer(r"[▁▂▃▄▅▆▇█░─│┌┐└┘├┤┬┴┼]|[^▁▂▃▄▅▆▇█░─│┌┐└┘├┤┬┴┼]+", text):
        at = x + width(text[: piece.start()]) * CHAR_W
        c = piece.group()
        if c in "▁▂▃▄▅▆▇█░":
            out.append(block(c, at, y, fg))
        elif c in "─│┌┐└┘├┤┬┴┼":
            out.append(lines_of(c, at, y, fg))
        else:
            for word in re.finditer(r"\S+(?: \S+)*", c):
                wx = at + width(c[: word.start()]) * CHAR_W
                bold = ' font-weight="bold"' if style.get(1) else ""
                under = ' text-decoration="underline"' if style.get(4) else ""
                out.append(
                    f'<text x="{wx:.1f}" y="{y + 13}" fill="{fg}"{bold}{under} '
                    f'textLength="{width(word.group()) * CHAR_W:.1f}">{html.escape(word.group())}</text>'
                )
    return out


def svg(shown):
    w, h = COLS * CHAR_W + 2 * PAD, ROWS * LINE_H + BAR + PAD
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h}" width="{w:.0f}" height="{h}" '
        f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" '
        f'font-size="{FONT}" xml:space="preserve">',
        f'<rect width="{w:.0f}" height="{h}" rx="8" fill="{BACKGROUND}"/>',
    ]
    for i, fill in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        out.append(f'<circle cx="{20 + 18 * i}" cy="16" r="5.5" fill="{fill}"/>')
    style = {}
    for row, line in enumerate(shown.split("\n")[:ROWS]):
        x = PAD
        for text, look in styled(line, style):
            out += run_svg(text, look, x, BAR + row * LINE_H)
            x += width(text) * CHAR_W
    return "\n".join(out + ["</svg>", ""])


def main():
    program, path = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with tempfile.TemporaryDirectory() as directory:
        root = os.getcwd()
        os.chdir(directory)
        try:
            shown = work(program)
        finally:
            subprocess.run([*SOCKET, "kill-server"], check=False, stderr=subprocess.DEVNULL)
            os.chdir(root)
    with open(path, "w", encoding="utf-8") as f:
        f.write(svg(shown))


main()
