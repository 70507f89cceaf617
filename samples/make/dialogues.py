#!/usr/bin/env python3
"""Generate short ChatML dialogues whose answers a program knows.

A *kind* is a function of a random generator that returns a list of turns
[(user, assistant), ...].  Questions are held out by a hash of their normalised
text: a dialogue that contains a held-out question never reaches the training
side, and the held-out questions come from nowhere else.

    dialogues.py train --count 800000 --out dialogues.jsonl
    dialogues.py questions --count 500 --out questions.jsonl
    dialogues.py check --questions questions.jsonl --replies replies.jsonl
"""
import argparse
import hashlib
import json
import multiprocessing
import random
import re
from collections import defaultdict

HELD_OUT_ONE_IN = 150

NAMES = """Anna Tom Lisa Ben Maria Paul Emma John Sara Max Nina Leo Kate Sam Julia Peter Laura David Alice Bob Clara
Mark Eva Luke Rosa Jack Mia Oscar Ruth Adam Helen Simon Jane Victor Olga Frank Grace Henry Ida Karl Carol Dave Mary
James Susan Mike Linda George""".split()
COLOURS = "red blue green yellow black white orange purple brown pink grey silver gold".split()
OBJECTS = """bike car hat coat bag book cup lamp chair table door house boat shirt phone pen key box ball kite scarf
shoe clock plate bottle basket ring tent sofa bed desk mug jacket dress umbrella guitar drum train truck bus wall
flag rope pillow blanket notebook wallet""".split()
ANIMALS = """dog cat horse cow sheep goat pig duck hen lion tiger bear wolf fox mouse rat rabbit frog snake bird
eagle owl fish shark whale ant bee spider camel monkey zebra deer donkey turtle crab""".split()
FRUITS = "apple pear banana cherry plum grape lemon lime mango melon peach orange kiwi fig berry".split()
VEGETABLES = "carrot potato onion tomato cabbage bean pea corn leek spinach garlic pepper pumpkin".split()
TOOLS = "hammer saw drill knife spoon fork axe shovel brush ladder wrench needle rake".split()
DRINKS = "tea coffee milk water juice wine beer cocoa".split()
CITIES = "Paris London Berlin Rome Madrid Vienna Oslo Cairo Tokyo Lima Athens Dublin Prague Lisbon Warsaw".split()
PLACES = ["on the table", "in the box", "under the bed", "on the shelf", "in the kitchen", "in the garden",
          "behind the door", "in the drawer", "on the chair", "in the car", "next to the lamp", "in the bag"]
FURTHER = """able above across action after again agree air alone along amber angle answer area arm army art autumn away
baby back badge bank base bath beach bell below best bird black blade blood blue board body bone border bottom bowl
brain branch brave bread bridge bright brother butter button cable cake camera camp candle card castle cause chain
chalk change chart cheese child circle city class clean clear climb cloud coast code coin cold colour copy corner
cotton count country cover crew cross crowd crown dance dark data daughter dear deep desert dinner doctor dream drink
drive dust early earth east easy edge egg empty end engine enter entry equal error even event eye face fact fair fall
family farm fast father feather field film final find fire first flame flat floor flower fly fold food foot forest
form fresh friend front frost fruit game garden gate gentle giant girl give glad glass glove good grain grass great
green ground group grow guest hair half hand happy hard head heart heat heavy hello help hero high hill hold hole home
honey hope hotel hour human ice idea inch iron island jelly job join joke judge juice jump keep kind king kitchen
kitten ladder lake land large last late laugh layer leaf learn left letter level light line list little live local
logic long loop love low lucky lunch machine magic mail make map market match meal mean metal middle mind minute
mirror model money month moon morning mother mountain mouth move music nail name narrow near neck nest never new next
night noise north nose note number ocean odd office old open order other oven page paint pair palace paper parent park
part party past path peace pencil people picture piece pilot place plain planet plant play pocket point pond poor
power price print prize proud public pull pupil queen quick quiet radio rain reach read ready real record rest rice
rich right river road rock roof room root rose round rule sail salt same sand school science score sea season seat
seed sell shadow shape sharp shell ship shop short shore side sign silk silver simple sister size skin sky sleep slow
small smile smoke smooth snow soap soft soil solid song sound soup south space speed spring square stage stair star
start state station steam steel step stick stone storm story street string strong sugar summer sun sweet swim switch
tail tall taste teach team test thin think thing thumb ticket tide time tiny title today tooth top tower town toy
track trade tree trip true try tune turn under uncle unit upper valley value view village visit voice walk warm wash
watch water wave way week weight west wheel wide wild wind window winter wire wise wish wolf woman wonder wood word
work world write yard year yes young zero""".split()
WORDS = sorted(set(FURTHER + OBJECTS + ANIMALS + FRUITS + VEGETABLES + TOOLS + DRINKS + COLOURS))
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
            "eleventh", "twelfth"]
NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""".split()
OPPOSITES = [p.split("/") for p in """hot/cold big/small fast/slow up/down left/right open/closed day/night black/white
good/bad happy/sad high/low long/short old/young early/late full/empty hard/soft heavy/light wet/dry rich/poor
strong/weak true/false first/last inside/outside always/never begin/end buy/sell clean/dirty deep/shallow easy/difficult
far/near friend/enemy front/back give/take in/out kind/cruel laugh/cry loud/quiet love/hate more/less narrow/wide
north/south east/west on/off over/under push/pull right/wrong safe/dangerous same/different sharp/blunt start/stop
summer/winter sweet/sour tall/short thick/thin top/bottom war/peace win/lose yes/no above/below add/subtract
alive/dead ancient/modern arrive/leave asleep/awake brave/cowardly cheap/expensive even/odd forget/remember
guilty/innocent import/export increase/decrease light/dark lost/found many/few maximum/minimum noisy/quiet
plus/minus positive/negative smooth/rough tight/loose input/output upper/lower""".split()]
CAPITALS = dict(p.split("/") for p in """France/Paris Germany/Berlin Italy/Rome Spain/Madrid Austria/Vienna Norway/Oslo
Egypt/Cairo Japan/Tokyo Peru/Lima Greece/Athens Ireland/Dublin Portugal/Lisbon Poland/Warsaw Sweden/Stockholm
Finland/Helsinki Denmark/Copenhagen Hungary/Budapest Belgium/Brussels Russia/Moscow China/Beijing India/Delhi
Canada/Ottawa Australia/Canberra Kenya/Nairobi Turkey/Ankara Cuba/Havana England/London Switzerland/Bern
Iceland/Reykjavik Romania/Bucharest Bulgaria/Sofia Thailand/Bangkok Vietnam/Hanoi Iran/Tehran Iraq/Baghdad
Chile/Santiago Ukraine/Kyiv Croatia/Zagreb Netherlands/Amsterdam Scotland/Edinburgh""".split())
SOUNDS = dict(p.split("/") for p in "dog/barks cat/meows cow/moos sheep/bleats duck/quacks lion/roars pig/oinks "
              "horse/neighs owl/hoots bee/buzzes snake/hisses wolf/howls frog/croaks mouse/squeaks".split())
YOUNG = dict(p.split("/") for p in "dog/puppy cat/kitten cow/calf sheep/lamb duck/duckling lion/cub pig/piglet "
             "horse/foal goat/kid hen/chick bear/cub frog/tadpole deer/fawn".split())
LEGS = {"dog": 4, "cat": 4, "cow": 4, "horse": 4, "sheep": 4, "spider": 8, "ant": 6, "bee": 6, "bird": 2, "duck": 2,
        "hen": 2, "snake": 0, "fish": 0, "frog": 4, "lion": 4, "mouse": 4, "crab": 10}
THING_COLOURS = {"grass": "green", "snow": "white", "the sky": "blue", "blood": "red", "coal": "black",
                 "a banana": "yellow", "milk": "white", "a lemon": "yellow", "the sun": "yellow", "a carrot": "orange",
                 "a tomato": "red", "a leaf": "green", "salt": "white", "chocolate": "brown", "a frog": "green"}
AMOUNTS = [("days", "a week", 7), ("hours", "a day", 24), ("minutes", "an hour", 60), ("seconds", "a minute", 60),
           ("months", "a year", 12), ("seasons", "a year", 4), ("letters", "the alphabet", 26),
           ("legs", "a chair", 4), ("fingers", "a hand", 5), ("wheels", "a car", 4), ("wheels", "a bike", 2),
           ("sides", "a triangle", 3), ("sides", "a square", 4), ("bits", "a byte", 8), ("weeks", "a year", 52),
           ("items", "a dozen", 12), ("centimetres", "a metre", 100), ("metres", "a kilometre", 1000),
           ("grams", "a kilogram", 1000), ("years", "a century", 100), ("years", "a decade", 10)]
MONTH_DAYS = dict(zip(MONTHS, (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)))
PLURALS = {"mouse": "mice", "foot": "feet", "tooth": "teeth", "child": "children", "man": "men", "woman": "women",
           "knife": "knives", "leaf": "leaves", "wolf": "wolves", "sheep": "sheep", "fish": "fish", "city": "cities",
           "baby": "babies", "box": "boxes", "fox": "foxes", "bus": "buses", "berry": "berries", "story": "stories",
           "potato": "potatoes", "tomato": "tomatoes", "goose": "geese", "person": "people", "shelf": "shelves",
           "glass": "glasses", "brush": "brushes", "dish": "dishes", "party": "parties", "country": "countries"}
CATEGORIES = {"animal": ANIMALS, "fruit": [f for f in FRUITS if f != "orange"], "vegetable": VEGETABLES,
              "tool": TOOLS, "colour": [c for c in COLOURS if c != "orange"], "drink": DRINKS}
LETTERS = "abcdefghijklmnopqrstuvwxyz"

KINDS = {}


def kind(weight, case_matters=False, scored=True):
    def register(function):
        KINDS[function.__name__] = (function, weight, case_matters, scored)
        return function
    return register


# ---- helpers ------------------------------------------------------------------------------------------------------

def a(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def plural(word):
    if word in PLURALS:
        return PLURALS[word]
    return word + ("es" if word.endswith(("s", "x", "sh", "ch")) else "s")


def enumerate_words(r, items, final="and"):
    """a, b, c / a b c / a, b and c / a; b; c"""
    style = r.random()
    items = [str(i) for i in items]
    if style < 0.5:
        return ", ".join(items)
    if style < 0.75:
        return " ".join(items)
    if style < 0.9 and len(items) > 1:
        return ", ".join(items[:-1]) + f" {final} " + items[-1]
    return (", " if r.random() < 0.5 else ",").join(items)


def size(r):
    """Upper limit of a number: small numbers are what people type first."""
    return r.choices((10, 20, 100, 1000), (3, 3, 6, 2.5))[0]


def number(r, limit=None):
    return r.randrange(limit or size(r))


def join(r, intro, payload):
    """Put a payload behind an instruction."""
    return intro + r.choice((": ", " ", ": ", ":\n" if r.random() < 0.3 else ": ")) + payload


POLITE_FRONT = ["please ", "Please ", "can you tell me ", "Can you tell me ", "tell me ", "Tell me, ", "hey, ", "Hi, ",
                "Hello! ", "so ", "ok, ", "Now ", "quick question: ", "I want to know ", "do you know ", "Question: "]
POLITE_BACK = [" please", ", please", " thanks", " now"]


def careless(r, text, case_matters):
    """People leave out capitals and full stops, or say please."""
    if r.random() < 0.10:
        front = r.choice(POLITE_FRONT)
        if text[:2] != "I " and not case_matters:
            text = text[0].lower() + text[1:]
        text = front + text
    elif r.random() < 0.04 and text[-1] in ".?!" and "\n" not in text:
        text = text[:-1] + r.choice(POLITE_BACK) + text[-1]
    roll = r.random()
    if not case_matters:
        if roll < 0.35:
            text = text.lower()
        elif roll < 0.38:
            text = text.upper()
    if r.random() < 0.35:
        text = text.rstrip(".?!")
    if r.random() < 0.08:
        text = text.replace("'", "")
    if r.random() < 0.02:
        text = text.replace(" ", "  ", 1)
    return text


# ---- arithmetic ---------------------------------------------------------------------------------------------------

def arithmetic_prompt(r, x, op, y):
    words = {"+": ["plus"], "-": ["minus"], "*": ["times", "multiplied by"], "/": ["divided by"]}[op]
    signs = {"+": ["+"], "-": ["-"], "*": ["*", "x", "*"], "/": ["/", "/", ":"]}[op]
    if r.random() < 0.35:
        expression = f"{x} {r.choice(words)} {y}"
        if x <= 20 and y <= 20 and r.random() < 0.3:
            expression = f"{NUMBER_WORDS[x]} {r.choice(words)} {NUMBER_WORDS[y]}"
    else:
        gap = r.choice(("", " ", " "))
        expression = f"{x}{gap}{r.choice(signs)}{gap}{y}"
    special = {"+": [f"Add {x} and {y}.", f"Add {x} to {y}.", f"What is the sum of {x} and {y}?", f"Sum of {x} and {y}",
                     f"Add up {x} and {y}.", f"What do you get if you add {x} and {y}?"],
               "-": [f"Subtract {y} from {x}.", f"What is the difference between {x} and {y}?" if x >= y else
                     f"Take {y} from {x}.", f"Take {y} away from {x}.", f"What is left if you take {y} from {x}?"],
               "*": [f"Multiply {x} by {y}.", f"What is the product of {x} and {y}?", f"Multiply {x} and {y}."],
               "/": [f"Divide {x} by {y}.", f"What do you get if you divide {x} by {y}?"]}[op]
    if r.random() < 0.25:
        return r.choice(special)
    return r.choice((
        "What is {}?", "What's {}?", "{}", "{}", "{} =", "{} = ?", "{}?", "Calculate {}.", "Compute {}.",
        "How much is {}?", "What does {} equal?", "What does {} make?", "Work out {}.", "Solve {}.",
        "Tell me {}.", "Give me the result of {}.", "What is the result of {}?", "What is the value of {}?",
        "I need {}.", "Evaluate {}.")).format(expression)


def add_pair(r):
    limit = size(r)
    return number(r, limit), number(r, limit if r.random() < 0.7 else None)


def arithmetic_follow_up(r, result):
    """A second question that builds on the last result."""
    y = r.randint(1, 20)
    if r.random() < 0.5:
        prompt = r.choice(("And if you add {}?", "Now add {}.", "Plus {}?", "Add {} to that.", "And {} more?",
                           "now plus {}", "and plus {}?")).format(y)
        return prompt, f"{result} + {y} = {result + y}"
    prompt = r.choice(("And if you subtract {}?", "Now subtract {}.", "Minus {}?", "Take {} away from that.",
                       "and minus {}?", "now minus {}")).format(y)
    return prompt, f"{result} - {y} = {result - y}"


def with_follow_up(r, turns, result):
    if r.random() < 0.12:
        turns.append(arithmetic_follow_up(r, result))
    return turns


@kind(10)
def addition(r):
    x, y = add_pair(r)
    if r.random() < 0.1:
        x, y, z = number(r, 20), number(r, 20), number(r, 20)
        gap = r.choice(("", " ", " "))
        expression = f"{gap}+{gap}".join(map(str, (x, y, z)))
        prompt = r.choice(("What is {}?", "{}", "{} = ?", "Calculate {}.", "Compute {}.", "How much is {}?",
                           "Add up {}.")).format(expression)
        return [(prompt, f"{x} + {y} + {z} = {x + y + z}")]
    return with_follow_up(r, [(arithmetic_prompt(r, x, "+", y), f"{x} + {y} = {x + y}")], x + y)


@kind(10)
def subtraction(r):
    x, y = add_pair(r)
    if x < y and r.random() < 0.85:
        x, y = y, x
    return with_follow_up(r, [(arithmetic_prompt(r, x, "-", y), f"{x} - {y} = {x - y}")], x - y)


@kind(12)
def multiplication(r):
    roll = r.random()
    if roll < 0.65:
        x, y = r.randint(0, 12), r.randint(0, 12)
    elif roll < 0.75:
        x, y = r.randint(0, 100), r.choice((10, 100))
    else:
        x, y = r.randint(10, 99), r.randint(2, 9)
    if r.random() < 0.5:
        x, y = y, x
    prompt = arithmetic_prompt(r, x, "*", y)
    if r.random() < 0.08:
        x, y = r.choice(((2, y), (2, y), (3, y), (y, y)))
        words = ["double {}", "twice {}", "What is double {}?", "What is twice {}?", "Double {}."] if x == 2 else \
            ["triple {}", "What is triple {}?", "Three times {}?"] if x == 3 else \
            ["{} squared", "What is {} squared?", "The square of {}?", "What is the square of {}?"]
        prompt = r.choice(words).format(y)
    return with_follow_up(r, [(prompt, f"{x} * {y} = {x * y}")], x * y)


@kind(6)
def division(r):
    y = r.randint(1, 12)
    x = y * (r.randint(0, 12) if r.random() < 0.85 else r.randint(10, 30))
    if r.random() < 0.06:
        x = 2 * r.randint(1, 50)
        prompt = r.choice(("half of {}", "What is half of {}?", "What is a half of {}?", "Half of {}?")).format(x)
        return [(prompt, f"{x} / 2 = {x // 2}")]
    return with_follow_up(r, [(arithmetic_prompt(r, x, "/", y), f"{x} / {y} = {x // y}")], x // y)


@kind(4)
def story(r):
    """One-sentence arithmetic stories."""
    name, thing = r.choice(NAMES), plural(r.choice(FRUITS + OBJECTS))
    x, y = r.randint(2, 30), r.randint(1, 20)
    ask = r.choice(("How many {t} does {n} have now?", "How many {t} are there now?", "How many {t} are left?",
                    "How many is that?", "How many {t} does {n} have?"))
    if r.random() < 0.5:
        text = r.choice(("{n} has {x} {t} and gets {y} more.", "{n} has {x} {t} and buys {y} more.",
                         "{n} had {x} {t} and found {y} more.", "There are {x} {t}. {n} brings {y} more."))
        ask = ask.replace("are left", "are there")
        z, sign = x + y, "+"
    else:
        x, y = max(x, y), min(x, y)
        text = r.choice(("{n} has {x} {t} and loses {y}.", "{n} has {x} {t} and gives away {y}.",
                         "{n} had {x} {t} and sold {y}.", "There are {x} {t}. {n} takes {y}."))
        z, sign = x - y, "-"
    return [((text + " " + ask).format(n=name, t=thing, x=x, y=y), f"{x} {sign} {y} = {z}")]


# ---- numbers ------------------------------------------------------------------------------------------------------

@kind(6)
def compare(r):
    limit = size(r)
    x, y = number(r, limit), number(r, limit)
    if r.random() < 0.15:
        y = int(str(x)[::-1])
    if x == y:
        y += 1
    more, less = r.choice((("larger", "smaller"), ("bigger", "smaller"), ("greater", "less"), ("more", "less"),
                           ("higher", "lower")))
    if r.random() < 0.5:
        want_more = r.random() < 0.5
        word = more if want_more else less
        prompt = r.choice(("Which is {w}, {x} or {y}?", "Which number is {w}: {x} or {y}?", "What is {w}, {x} or {y}?",
                           "{x} or {y}, which is {w}?", "Which one is {w}, {x} or {y}?", "{w}: {x} or {y}?",
                           "Which of {x} and {y} is {w}?")).format(w=word, x=x, y=y)
        answer = max(x, y) if want_more else min(x, y)
        return [(prompt, f"{answer} is {word}.")]
    word = r.choice((more, less))
    holds = x > y if word == more else x < y
    prompt = r.choice(("Is {x} {w} than {y}?", "Is the number {x} {w} than {y}?", "is it true that {x} is {w} than {y}?",
                       "Is {x} really {w} than {y}?")).format(w=word, x=x, y=y)
    relation = "greater" if x > y else "less"
    return [(prompt, f"{x} is {relation} than {y}, so {'yes' if holds else 'no'}.")]


@kind(5)
def extreme(r):
    values = r.sample(range(size(r) + 10), r.randint(3, 6))
    word, pick = r.choice((("largest", max), ("biggest", max), ("highest", max), ("greatest", max), ("smallest", min),
                           ("lowest", min), ("maximum", max), ("minimum", min)))
    items = enumerate_words(r, values, r.choice(("and", "or")))
    if word.endswith("mum"):
        prompt = r.choice(("What is the {w} of {i}?", "Find the {w}: {i}", "{w} of {i}", "Give me the {w} of {i}."))
    else:
        prompt = r.choice(("Which is the {w}: {i}?", "What is the {w} number in {i}?", "Find the {w} number: {i}",
                           "Which of these numbers is the {w}: {i}?", "What is the {w} of {i}?",
                           "Give me the {w} of {i}.", "Pick the {w} number from {i}.", "{w} number: {i}"))
    return [(prompt.format(w=word, i=items), f"The {word} is {pick(values)}.")]


@kind(3)
def parity(r):
    x = number(r)
    word = r.choice(("even", "odd"))
    prompt = r.choice(("Is {x} {w}?", "Is {x} an {w} number?", "Is the number {x} {w}?", "is {x} even or odd?",
                       "{x}: even or odd?", "Is {x} odd or even?", "Even or odd: {x}?")).format(x=x, w=word)
    is_word = "even" if x % 2 == 0 else "odd"
    if " or " in prompt:
        return [(prompt, f"{x} is {is_word}.")]
    return [(prompt, f"{x} is {is_word}, so {'yes' if is_word == word else 'no'}.")]


@kind(6)
def count_range(r):
    step = r.choices((1, 2, 3, 5, 10), (8, 2, 1, 1, 1))[0]
    start = r.randint(0, 30) if r.random() < 0.5 else 1
    if step == 10:
        start = 10 * r.randint(0, 5)
    stop = start + step * r.randint(2, 11)
    values = list(range(start, stop + 1, step))
    if r.random() < 0.3:
        values.reverse()
        x, y = values[0], values[-1]
        if step == 1:
            prompt = r.choice((f"Count down from {x} to {y}.", f"Count from {x} down to {y}.",
                               f"Count backwards from {x} to {y}.", f"countdown from {x} to {y}"))
        else:
            prompt = r.choice((f"Count down from {x} to {y} by {step}.", f"Count from {x} to {y} in steps of {step}.",
                               f"Count backwards from {x} to {y} by {step}."))
    elif step == 1:
        x, y = values[0], values[-1]
        prompt = r.choice((f"Count from {x} to {y}.", f"Count up from {x} to {y}.", f"List the numbers from {x} to {y}.",
                           f"Give me the numbers from {x} to {y}.", f"Write the numbers {x} to {y}.",
                           f"Can you count from {x} to {y}?", f"count {x} to {y}") +
                          ((f"Count to {y}.", f"Can you count to {y}?", f"count up to {y}", f"Count to {NUMBER_WORDS[y]}.") * 3 if x == 1 else ()))
    else:
        x, y = values[0], values[-1]
        prompt = r.choice((f"Count from {x} to {y} by {step}.", f"Count from {x} to {y} in steps of {step}.",
                           f"Count by {step} from {x} to {y}.", f"Numbers from {x} to {y} in steps of {step}"))
    return [(prompt, ", ".join(map(str, values)))]


@kind(7)
def sequence(r):
    step = r.choice((1, 2, 2, 3, 4, 5, 5, 10, -1, -2, -5))
    start = r.randint(0, 40) if step > 0 else r.randint(30, 80)
    values = [start + step * i for i in range(r.randint(3, 5))]
    following = values[-1] + step
    if r.random() < 0.15:
        start = r.randint(1, 6)
        values = [start * 2 ** i for i in range(r.randint(4, 5))]
        following = values[-1] * 2
    items = ", ".join(map(str, values))
    prompt = r.choice(("What comes next: {}?", "{}, what comes next?", "Continue: {}", "Which number comes next: {}?",
                       "What is the next number in {}?", "Next number: {}", "{}, ...?", "Continue the sequence {}",
                       "Which number follows {}?", "{}, and then?")).format(items)
    return [(prompt, f"{following}")]


@kind(3)
def neighbour_number(r):
    x = number(r) + 1
    if r.random() < 0.5:
        prompt = r.choice(("What number comes after {}?", "Which number comes after {}?", "What comes after {}?",
                           "What is the number after {}?", "What follows {}?", "which number is next after {}?"))
        return [(prompt.format(x), f"{x + 1} comes after {x}.")]
    prompt = r.choice(("What number comes before {}?", "Which number comes before {}?", "What comes before {}?",
                       "What is the number before {}?", "What is just before {}?"))
    return [(prompt.format(x), f"{x - 1} comes before {x}.")]


@kind(10)
def sort_numbers(r):
    values = r.sample(range(size(r) + 10), r.randint(3, 6))
    down = r.random() < 0.35
    items = enumerate_words(r, values)
    if down:
        intro = r.choice(("Sort these numbers in descending order", "Sort from largest to smallest",
                          "Order these numbers from largest to smallest", "Put these numbers in descending order",
                          "Sort descending", "Sort from high to low", "Sort these numbers from biggest to smallest",
                          "Arrange from largest to smallest"))
    else:
        intro = r.choice(("Sort these numbers", "Sort these numbers in ascending order", "Sort from smallest to largest",
                          "Order these numbers from smallest to largest", "Put these numbers in order", "Sort",
                          "Sort the numbers", "Arrange these numbers in ascending order", "Sort from low to high",
                          "Sort ascending", "Can you sort these numbers"))
    return [(join(r, intro, items), ", ".join(map(str, sorted(values, reverse=down))))]


# ---- words and letters --------------------------------------------------------------------------------------------

QUOTES = ("{}", "{}", "{}", '"{}"', "'{}'", "the word {}", 'the word "{}"')


def quoted(r, word):
    return r.choice(QUOTES).format(word)


@kind(11, case_matters=True)
def sort_words(r):
    values = r.sample(WORDS, r.randint(3, 5))
    if r.random() < 0.08:
        values = r.sample(LETTERS, r.randint(3, 6))
    intro = r.choice(("Sort these words alphabetically", "Sort these words", "Put these words in alphabetical order",
                      "Order these words alphabetically", "Sort alphabetically", "sort the words", "sort",
                      "Arrange these words in alphabetical order", "Alphabetical order, please",
                      "Sort these words from a to z", "put in alphabetical order", "Can you sort these words",
                      "alphabetize"))
    return [(join(r, intro, enumerate_words(r, values)), ", ".join(sorted(values)))]


@kind(16, case_matters=True)
def reverse_word(r):
    word = r.choice(WORDS)
    while len(word) > 7:
        word = r.choice(WORDS)
    if r.random() < 0.08:
        word = "".join(r.choices(LETTERS, k=r.randint(3, 4)))
    prompt = r.choice(("Reverse {}.", "Reverse {}.", "Write {} backwards.", "Spell {} backwards.", "Reverse the letters of {}.",
                       "reverse {}", "What is {} backwards?", "What is {} spelled backwards?", "Say {} backwards.",
                       "Turn {} around.", "What is {} in reverse?", "{} backwards", "Can you reverse {}?",
                       "How do you write {} backwards?", "What does {} look like in reverse?", "Write {} in reverse.",
                       "Flip {}.", "What do you get if you reverse {}?", "Give me {} backwards."))
    return [(prompt.format(quoted(r, word)), word[::-1])]


@kind(6, case_matters=True)
def reverse_list(r):
    if r.random() < 0.5:
        values = r.sample(WORDS, r.randint(3, 5))
        what = "words"
    else:
        values = [str(number(r, r.choice((10, 100)))) for _ in range(r.randint(3, 6))]
        what = "numbers"
    intro = r.choice(("Reverse this list", "Reverse the order of these {w}", "Write these {w} in reverse order",
                      "Reverse the list", "Say these {w} in reverse order", "Turn this list around",
                      "Put these {w} in reverse order", "Give me these {w} in reverse order",
                      "List these {w} backwards", "Reverse the order")).format(w=what)
    return [(join(r, intro, enumerate_words(r, values)), ", ".join(values[::-1]))]


@kind(6, case_matters=True)
def spell(r):
    word = r.choice(WORDS)
    prompt = r.choice(("Spell {}.", "How do you spell {}?", "spell {}", "Spell the word {}.", "Can you spell {}?",
                       "Spell out {}.", "What are the letters of {}?", "Which letters are in {}?", "How is {} spelled?",
                       "Give me the letters of {}.", "List the letters of {}."))
    return [(prompt.format(r.choice(("{}", "{}", '"{}"')).format(word)), "-".join(word))]


@kind(6, case_matters=True)
def count_letters(r):
    word = r.choice(WORDS)
    prompt = r.choice(("How many letters does {} have?", "How many letters are in {}?", "How many letters are there in {}?",
                       "Count the letters in {}.", "How long is {}?", "What is the length of {}?", "Number of letters in {}",
                       "how many letters in {}", "How many letters has {}?", "Count the letters of {}."))
    return [(prompt.format(quoted(r, word)), f"The word {word} has {len(word)} letters.")]


@kind(4, case_matters=True)
def count_words(r):
    values = r.sample(WORDS, r.randint(2, 8))
    items = enumerate_words(r, values)
    prompt = r.choice(("How many words are in this list: {}?", "Count the words: {}", "How many words are there: {}?",
                       "How many items are in this list: {}?", "How many words do you see: {}?",
                       "Count these words: {}", "How many items: {}?", "how many words: {}"))
    return [(prompt.format(items), f"There are {len(values)} {'items' if 'items' in prompt else 'words'}.")]


@kind(10, case_matters=True)
def count_occurrences(r):
    pool = r.sample(WORDS, r.randint(2, 3))
    values = [r.choice(pool) for _ in range(r.randint(3, 7))]
    target = r.choice(pool)
    n = values.count(target)
    items = (", " if r.random() < 0.5 else " ").join(values)
    prompt = r.choice(("How many times does {t} appear in: {i}?", "How often does {t} occur in {i}?",
                       "Count {t} in this list: {i}", "How many times is {t} in this list: {i}?",
                       "How often is {t} in: {i}?", "In the list {i}, how many times does {t} appear?",
                       "count the word {t}: {i}", "How many times do you see {t} in {i}?")).format(t=target, i=items)
    return [(prompt, f"The word {target} appears {n} {'time' if n == 1 else 'times'}.")]


@kind(9, case_matters=True)
def letter_of_word(r):
    word = r.choice(WORDS)
    if r.random() < 0.35:
        i = len(word) - 1
        which = "last"
    else:
        i = r.randrange(min(len(word), 4))
        which = ORDINALS[i]
    prompt = r.choice(("What is the {w} letter of {x}?", "Which letter is the {w} in {x}?", "The {w} letter of {x}?",
                       "What's the {w} letter in {x}?", "Give me the {w} letter of {x}.", "{w} letter of {x}",
                       "Tell me the {w} letter of {x}."))
    return [(prompt.format(w=which, x=quoted(r, word)), f"The {which} letter of {word} is {word[i]}.")]


@kind(4, case_matters=True)
def alphabet(r):
    i = r.randrange(1, 25)
    c = LETTERS[i]
    shown = r.choice((c, c, f'"{c}"', c.upper()))
    if r.random() < 0.5:
        prompt = r.choice(("Which letter comes after {}?", "What letter comes after {}?", "What is the letter after {}?",
                           "What is the next letter after {}?", "Which letter follows {}?", "letter after {}",
                           "What comes after the letter {}?", "After {} comes which letter?"))
        return [(prompt.format(shown), f"The letter after {c} is {LETTERS[i + 1]}.")]
    prompt = r.choice(("Which letter comes before {}?", "What letter comes before {}?", "What is the letter before {}?",
                       "letter before {}", "Which letter is just before {}?", "What comes before the letter {}?",
                       "Before {} comes which letter?"))
    return [(prompt.format(shown), f"The letter before {c} is {LETTERS[i - 1]}.")]


@kind(10, case_matters=True)
def upper_lower(r):
    words = r.sample(WORDS, r.choices((1, 2), (4, 1))[0])
    text = " ".join(words)
    if r.random() < 0.6:
        prompt = r.choice(("Write {} in upper case.", "Write {} in capitals.", "Write {} in capital letters.",
                           "Uppercase: {}", "Make {} upper case.", "upper case {}", "Convert {} to uppercase.",
                           "Put {} in capital letters.", "{} in uppercase"))
        return [(prompt.format(r.choice(("{}", '"{}"')).format(text)), text.upper())]
    prompt = r.choice(("Write {} in lower case.", "Write {} in small letters.", "Lowercase: {}", "Make {} lower case.",
                       "lower case {}", "Convert {} to lowercase.", "{} in lowercase"))
    return [(prompt.format(r.choice(("{}", '"{}"')).format(text.upper())), text)]


@kind(7, case_matters=True)
def copy(r):
    roll = r.random()
    if roll < 0.5:
        text = " ".join(r.sample(WORDS, r.randint(1, 7)))
    elif roll < 0.65:
        text = "".join(r.choices(LETTERS, k=r.randint(3, 6)))
    elif roll < 0.8:
        text = " ".join(str(number(r)) for _ in range(r.randint(2, 6)))
    else:
        text = (f"{r.choice(NAMES)} has {a(r.choice(COLOURS))} {r.choice(OBJECTS)}" if r.random() < 0.5 else
                f"The {r.choice(ANIMALS)} is {r.choice(PLACES)}")
    if r.random() < 0.15:
        n = r.randint(2, 4)
        word = text.split()[0]
        prompt = r.choice(("Say {} {} times.", "Write {} {} times.", "Repeat {} {} times.", "Repeat the word {} {} times."))
        return [(prompt.format(word, r.choice((n, NUMBER_WORDS[n]))), " ".join([word] * n))]
    intro = r.choice(("Repeat", "Repeat after me", "Copy this", "Say this", "Repeat this", "Write this", "Copy", "Say",
                      "Echo", "Please repeat", "Repeat the following", "Write exactly this", "Say exactly"))
    shown = r.choice((text, text, f'"{text}"'))
    return [(join(r, intro, shown), text)]


@kind(8, case_matters=True)
def item_of_list(r):
    values = r.sample(WORDS, r.randint(3, 6)) if r.random() < 0.75 else \
        [str(v) for v in r.sample(range(100), r.randint(3, 6))]
    if r.random() < 0.35:
        i, which = len(values) - 1, "last"
    else:
        i = r.randrange(len(values))
        which = ORDINALS[i]
    what = r.choice(("item", "word", "one")) if values[0].isalpha() else r.choice(("item", "number", "one"))
    items = enumerate_words(r, values)
    prompt = r.choice(("What is the {w} {t} in this list: {i}?", "Which {t} is {w} in {i}?", "Give me the {w} {t}: {i}",
                       "The list is {i}. What is the {w} {t}?", "Take the list {i}. Which {t} is the {w}?",
                       "What is the {w} {t} of {i}?", "{w} {t}: {i}", "Pick the {w} {t} from {i}.",
                       "Here is a list: {i}. What is the {w} {t}?")).format(w=which, t=what, i=items)
    return [(prompt, values[i])]


@kind(7, case_matters=True)
def membership(r):
    values = r.sample(WORDS, r.randint(3, 6))
    target = r.choice(values) if r.random() < 0.5 else r.choice([w for w in r.sample(WORDS, 8) if w not in values])
    items = enumerate_words(r, values)
    prompt = r.choice(("Is {t} in this list: {i}?", "Is the word {t} in: {i}?", "Does this list contain {t}: {i}?",
                       "The list is {i}. Is {t} in it?", "Does {i} contain {t}?", "Can you find {t} in {i}?",
                       "Here is a list: {i}. Does it contain {t}?")).format(t=target, i=items)
    return [(prompt, f"The word {target} is {'' if target in values else 'not '}in the list.")]


@kind(4)
def plurals(r):
    word = r.choice(list(PLURALS)) if r.random() < 0.5 else r.choice(OBJECTS + ANIMALS + TOOLS)
    prompt = r.choice(("What is the plural of {}?", "Plural of {}?", "What's the plural of {}?", "Give me the plural of {}.",
                       "One {}, two what?", "How do you say more than one {}?", "Write the plural of {}.",
                       "plural of {}", "What is the plural form of {}?"))
    return [(prompt.format(word), f"The plural of {word} is {plural(word)}.")]


# ---- calendar -----------------------------------------------------------------------------------------------------

@kind(7)
def calendar(r):
    cycle, what = r.choice(((DAYS, "day"), (MONTHS, "month")))
    i = r.randrange(len(cycle))
    x = cycle[i]
    roll = r.random()
    if roll < 0.33:
        prompt = r.choice(("What {t} comes after {x}?", "Which {t} comes after {x}?", "What is the {t} after {x}?",
                           "Which {t} follows {x}?", "What is the next {t} after {x}?", "What comes after {x}?",
                           "the {t} after {x}", "After {x} comes which {t}?", "Which {t} is after {x}?",
                           "Name the {t} after {x}.", "What {t} follows {x}?"))
        return [(prompt.format(t=what, x=x), f"{cycle[(i + 1) % len(cycle)]} comes after {x}.")]
    if roll < 0.66:
        prompt = r.choice(("What {t} comes before {x}?", "Which {t} comes before {x}?", "What is the {t} before {x}?",
                           "Which {t} precedes {x}?", "What was the {t} before {x}?", "What comes before {x}?",
                           "the {t} before {x}", "Before {x} comes which {t}?", "Which {t} is before {x}?",
                           "Name the {t} before {x}."))
        return [(prompt.format(t=what, x=x), f"{cycle[i - 1]} comes before {x}.")]
    if what == "day":
        if r.random() < 0.5:
            tomorrow = r.random() < 0.5
            prompt = r.choice(("Today is {x}. What day is {w}?", "If today is {x}, what day is {w}?", "It is {x} today. What is {w}?",
                               "Today is {x}, {w} is?")).format(x=x, w="tomorrow" if tomorrow else "yesterday")
            if not tomorrow:
                return [(prompt.replace("day is yesterday", "day was yesterday"), f"Yesterday was {cycle[i - 1]}.")]
            return [(prompt, f"Tomorrow is {cycle[(i + 1) % 7]}.")]
        n = r.randint(2, 6)
        prompt = r.choice(("What day is {n} days after {x}?", "Which day comes {n} days after {x}?",
                           "Today is {x}. What day is it in {n} days?", "{n} days after {x}?"))
        return [(prompt.format(n=r.choice((n, NUMBER_WORDS[n])), x=x), f"It is {cycle[(i + n) % 7]}.")]
    roll = r.random()
    if roll < 0.35:
        prompt = r.choice(("How many days does {} have?", "How many days are in {}?", "How many days are there in {}?",
                           "number of days in {}", "How long is {} in days?"))
        return [(prompt.format(x), f"{x} has {MONTH_DAYS[x]} days.")]
    if roll < 0.7:
        prompt = r.choice(("What is the {} month?", "Which month is the {}?", "What is the {} month of the year?",
                           "Name the {} month.", "which is the {} month of the year?"))
        return [(prompt.format(ORDINALS[i]), f"The {ORDINALS[i]} month is {x}.")]
    prompt = r.choice(("What number is the month {}?", "Which month number is {}?", "What is the number of the month {}?",
                       "{} is which month of the year?", "What number is {}?"))
    return [(prompt.format(x), f"{x} is month {i + 1}.")]


# ---- knowledge ----------------------------------------------------------------------------------------------------

@kind(6)
def opposite(r):
    forward = {}
    for x, y in OPPOSITES:
        forward.setdefault(x, y)
        forward.setdefault(y, x)
    word = r.choice(list(forward))
    prompt = r.choice(("What is the opposite of {}?", "What's the opposite of {}?", "Opposite of {}?", "opposite of {}",
                       "Give me the opposite of {}.", "What is the antonym of {}?", "The opposite of {} is?",
                       "Name the opposite of {}.", "Which word means the opposite of {}?", "Tell me the opposite of {}.",
                       "Not {}, but the opposite?", "What word is the opposite of {}?", "{}: opposite?",
                       "Say the opposite of {}.", "Find the opposite of {}."))
    return [(prompt.format(r.choice((word, word, f'"{word}"'))), f"The opposite of {word} is {forward[word]}.")]


@kind(8)
def facts(r):
    roll = r.random()
    if roll < 0.4:
        country = r.choice(list(CAPITALS))
        city = CAPITALS[country]
        the = "the " if country == "Netherlands" else ""
        if r.random() < 0.75:
            prompt = r.choice(("What is the capital of {}?", "What's the capital of {}?", "Capital of {}?", "capital of {}",
                               "Which city is the capital of {}?", "Name the capital of {}.", "The capital of {} is?",
                               "Tell me the capital of {}.", "What is the capital city of {}?",
                               "Do you know the capital of {}?", "{} capital", "Give me the capital of {}.", "{}: capital?"))
            return [(prompt.format(the + country), f"The capital of {the}{country} is {city}.")]
        prompt = r.choice(("{} is the capital of which country?", "Which country has the capital {}?",
                           "Of which country is {} the capital?", "What country is {} the capital of?",
                           "Which country's capital is {}?"))
        return [(prompt.format(city), f"{city} is the capital of {the}{country}.")]
    if roll < 0.5:
        x = r.choice(list(SOUNDS))
        prompt = r.choice(("What sound does {} make?", "Which sound does {} make?", "What noise does {} make?",
                           "What does {} say?", "How does {} sound?"))
        return [(prompt.format(a(x)), f"{a(x).capitalize()} {SOUNDS[x]}.")]
    if roll < 0.6:
        x = r.choice(list(YOUNG))
        prompt = r.choice(("What is a young {} called?", "What do you call a baby {}?", "What is a baby {} called?",
                           "What is the young of a {}?", "Name for a baby {}?", "How is a young {} called?"))
        return [(prompt.format(x), f"A young {x} is called {a(YOUNG[x])}.")]
    if roll < 0.7:
        x = r.choice(list(LEGS))
        prompt = r.choice(("How many legs does {} have?", "How many legs has {}?", "Number of legs of {}?",
                           "How many legs are there on {}?", "legs of {}?"))
        return [(prompt.format(a(x)), f"{a(x).capitalize()} has {LEGS[x]} legs.")]
    if roll < 0.82:
        x = r.choice(list(THING_COLOURS))
        prompt = r.choice(("What colour is {}?", "What color is {}?", "Which colour is {}?", "Which color does {} have?",
                           "What is the colour of {}?", "What is the color of {}?", "colour of {}?", "Tell me the color of {}."))
        return [(prompt.format(x), f"{x[0].upper() + x[1:]} is {THING_COLOURS[x]}.")]
    what, of, n = r.choice(AMOUNTS)
    prompt = r.choice(("How many {w} are in {o}?", "How many {w} does {o} have?", "How many {w} are there in {o}?",
                       "How many {w} in {o}?", "Number of {w} in {o}?", "Tell me how many {w} {o} has.",
                       "{o} has how many {w}?"))
    return [(prompt.format(w=what, o=of), f"{of[0].upper() + of[1:]} has {n} {what}.")]


@kind(5)
def category(r):
    name, members = r.choice(list(CATEGORIES.items()))
    x = r.choice(members)
    other = r.choice([c for c in CATEGORIES if c != name])
    if r.random() < 0.4:
        pair = [name, other]
        r.shuffle(pair)
        prompt = r.choice(("Is {x} {p} or {q}?", "What is {x}, {p} or {q}?", "{x}: {p} or {q}?"))
        return [(prompt.format(x=x, p=a(pair[0]), q=a(pair[1])), f"{x.capitalize()} is {a(name)}.")]
    others = [r.choice(m) for c, m in CATEGORIES.items() if c != name]
    values = r.sample(others, r.randint(2, 3)) + [x]
    r.shuffle(values)
    items = enumerate_words(r, values, "or")
    prompt = r.choice(("Which of these is {c}: {i}?", "Which word is {c}: {i}?", "Find the {n}: {i}", "Which one is {c}: {i}?",
                       "Which of {i} is {c}?", "Pick the {n}: {i}", "What is the {n} in this list: {i}?",
                       "One of these is {c}: {i}. Which one?"))
    return [(prompt.format(c=a(name), n=name, i=items), f"{x.capitalize()} is {a(name)}.")]


# ---- looking things up in the question ----------------------------------------------------------------------------

def statements(r, facts_):
    """Join statements into one text."""
    style = r.random()
    if style < 0.5:
        return " ".join(f + "." for f in facts_)
    if style < 0.75:
        return ", ".join(facts_[:-1]) + (" and " if len(facts_) > 1 else "") + facts_[-1] + "."
    return (", " if style < 0.9 else "; ").join(facts_) + "."


def ask(r, text, question):
    """The facts and the question, in either order."""
    if r.random() < 0.12:
        return f"{question} {text}"
    return f"{text} {question}"


REMEMBER = ["Remember this: ", "Listen: ", "Here are some facts. ", "Note: ", "Remember: ", ""]


def lookup_turns(r, text, questions):
    """questions: [(question, answer, short follow-up or None), ...]"""
    roll = r.random()
    r.shuffle(questions)
    if roll < 0.12:
        intro = r.choice(REMEMBER[:-1]) + text
        turns = [(intro, "OK, I will remember that.")]
        for question, answer, _ in questions[:r.randint(1, 3)]:
            turns.append((question, answer))
        return turns
    turns = [(ask(r, text, questions[0][0]), questions[0][1])]
    if roll < 0.35 and len(questions) > 1:
        for question, answer, short in questions[1:r.randint(2, 3)]:
            turns.append((r.choice((question, short or question)), answer))
    return turns


def owned(name):
    return f"{name}'s"


@kind(22)
def lookup_colour(r):
    if r.random() < 0.05:
        colour, thing = r.choice(COLOURS), r.choice(OBJECTS)
        text = r.choice((f"My {thing} is {colour}.", f"I have {a(colour)} {thing}."))
        question = r.choice((f"What colour is my {thing}?", f"What color is my {thing}?", f"Which colour is my {thing}?",
                             f"What is the colour of my {thing}?"))
        if r.random() < 0.5:
            return [(text, "OK, I will remember that."), (question, f"Your {thing} is {colour}.")]
        return [(f"{text} {question}", f"Your {thing} is {colour}.")]
    n = r.choices((1, 2, 3, 4, 5), (1, 4, 6, 4, 2))[0]
    names = r.sample(NAMES, n)
    colours = r.sample(COLOURS, n) if r.random() < 0.75 else [r.choice(COLOURS) for _ in range(n)]
    things = [r.choice(OBJECTS)] * n if r.random() < 0.45 else r.sample(OBJECTS, n)
    style = r.randrange(5)
    facts_ = []
    for name, colour, thing in zip(names, colours, things):
        s = style if style < 4 else r.randrange(4)
        facts_.append((f"{owned(name)} {thing} is {colour}", f"{name} has {a(colour)} {thing}",
                       f"the {thing} of {name} is {colour}", f"{name} owns {a(colour)} {thing}")[s])
    if r.random() < 0.7:
        facts_ = [f[0].upper() + f[1:] for f in facts_]
    questions = []
    same = len(set(things)) == 1 and n > 1
    form = r.random()
    for name, colour, thing in zip(names, colours, things):
        unique = sum(c == colour and t == thing for c, t in zip(colours, things)) == 1
        follow = r.choice((f"And {owned(name)}?", f"and {name}?", f"What about {name}?", f"And {owned(name)} {thing}?",
                           f"What about {owned(name)} {thing}?"))
        if form < 0.5 or not unique:
            question = r.choice((
                f"What colour is {owned(name)} {thing}?", f"What color is {owned(name)} {thing}?",
                f"Which colour is {owned(name)} {thing}?", f"What is the colour of {owned(name)} {thing}?",
                f"What is the color of {owned(name)} {thing}?", f"{owned(name)} {thing} is what colour?",
                f"Which color does {owned(name)} {thing} have?", f"Tell me the colour of {owned(name)} {thing}.",
                f"What colour does {owned(name)} {thing} have?", f"What color is the {thing} of {name}?",
                f"What colour {thing} does {name} have?"))
            answer = f"{owned(name)} {thing} is {colour}."
        elif form < 0.75:
            question = r.choice((
                f"Who has the {colour} {thing}?", f"Whose {thing} is {colour}?", f"Who owns the {colour} {thing}?",
                f"Who has {a(colour)} {thing}?", f"The {colour} {thing} belongs to whom?",
                f"Which person has the {colour} {thing}?", f"Whose is the {colour} {thing}?",
                f"To whom does the {colour} {thing} belong?"))
            answer = f"{name} has the {colour} {thing}."
            follow = r.choice((f"And the {colour} {thing}?", f"What about the {colour} {thing}?",
                               f"and the {colour} one?" if same else f"and the {colour} {thing}?"))
        else:
            question = r.choice((f"What does {name} have?", f"What does {name} own?", f"What has {name} got?",
                                 f"Which thing does {name} have?", f"What is it that {name} has?"))
            answer = f"{name} has {a(colour)} {thing}."
        questions.append((question, answer, follow))
    return lookup_turns(r, statements(r, facts_), questions)


@kind(12)
def lookup_age(r):
    n = r.randint(2, 4)
    names, ages = r.sample(NAMES, n), r.sample(range(3, 80), n)
    style = r.randrange(3)
    facts_ = [(f"{x} is {y}", f"{x} is {y} years old", f"{owned(x)} age is {y}")[style] for x, y in zip(names, ages)]
    text = statements(r, facts_)
    roll = r.random()
    if roll < 0.2:
        (x, p), (y, q) = r.sample(list(zip(names, ages)), 2)
        older = r.random() < 0.5
        question = r.choice((f"Who is {'older' if older else 'younger'}, {x} or {y}?",
                             f"Is {x} or {y} {'older' if older else 'younger'}?"))
        winner = x if (p > q) == older else y
        return [(ask(r, text, question), f"{winner} is {'older' if older else 'younger'}.")]
    if roll < 0.4:
        oldest = r.random() < 0.5
        word = "oldest" if oldest else "youngest"
        winner = names[ages.index(max(ages) if oldest else min(ages))]
        return [(ask(r, text, r.choice((f"Who is the {word}?", f"Which one is the {word}?", f"Who is {word}?"))),
                 f"{winner} is the {word}.")]
    if roll < 0.6:
        questions = [(r.choice((f"Who is {y}?", f"Who is {y} years old?", f"Which person is {y}?")),
                      f"{x} is {y} years old.", f"And who is {y}?") for x, y in zip(names, ages)]
    else:
        questions = [(r.choice((f"How old is {x}?", f"What is {owned(x)} age?", f"What age is {x}?", f"Tell me {owned(x)} age.")),
                      f"{x} is {y} years old.", r.choice((f"And {x}?", f"What about {x}?", f"and {x}?"))) for x, y in zip(names, ages)]
    return lookup_turns(r, text, questions)


@kind(14)
def lookup_place(r):
    n = r.randint(2, 4)
    roll = r.random()
    if roll < 0.4:
        names, cities = r.sample(NAMES, n), r.sample(CITIES, n)
        facts_ = [f"{x} lives in {y}" for x, y in zip(names, cities)]
        if r.random() < 0.55:
            questions = [(r.choice((f"Where does {x} live?", f"In which city does {x} live?", f"Which city does {x} live in?",
                                    f"Where is {owned(x)} home?")),
                          f"{x} lives in {y}.", r.choice((f"And {x}?", f"What about {x}?"))) for x, y in zip(names, cities)]
        else:
            questions = [(r.choice((f"Who lives in {y}?", f"Which person lives in {y}?", f"Who is in {y}?")),
                          f"{x} lives in {y}.", f"And in {y}?") for x, y in zip(names, cities)]
    elif roll < 0.75:
        things, places = r.sample(OBJECTS + ANIMALS, n), r.sample(PLACES, n)
        facts_ = [f"the {x} is {y}" for x, y in zip(things, places)]
        if r.random() < 0.7:
            questions = [(r.choice((f"Where is the {x}?", f"Where can I find the {x}?", f"Where's the {x}?", f"Where do I find the {x}?")),
                          f"The {x} is {y}.", r.choice((f"And the {x}?", f"What about the {x}?"))) for x, y in zip(things, places)]
        else:
            questions = [(r.choice((f"What is {y}?", f"Which thing is {y}?")), f"The {x} is {y}.", f"And {y}?")
                         for x, y in zip(things, places)]
    else:
        names, likes = r.sample(NAMES, n), r.sample(DRINKS + [plural(f) for f in FRUITS], n)
        facts_ = [f"{x} likes {y}" for x, y in zip(names, likes)]
        if r.random() < 0.55:
            questions = [(r.choice((f"What does {x} like?", f"Which thing does {x} like?", f"Tell me what {x} likes.")),
                          f"{x} likes {y}.", r.choice((f"And {x}?", f"What about {x}?"))) for x, y in zip(names, likes)]
        else:
            questions = [(r.choice((f"Who likes {y}?", f"Which person likes {y}?")), f"{x} likes {y}.", f"And {y}?")
                         for x, y in zip(names, likes)]
    if r.random() < 0.7:
        facts_ = [f[0].upper() + f[1:] for f in facts_]
    return lookup_turns(r, statements(r, facts_), questions)


BY_VALUE = re.compile(r"\b(Whose?|whom|Which (person|one)|(What|Which thing) is (on|in|under|behind|next)) ", re.I)


@kind(0, scored=False)
def lookup_by_value(r):
    """Those of the three kinds above that ask for a name or a thing by its value, for training that needs more.

    Where several are asked about the same facts, one text teaches more: these are kept more often.
    """
    function = r.choice((lookup_colour, lookup_age, lookup_place))
    while True:
        turns = function(r)
        if BY_VALUE.search(turns[-1][0] if len(turns) == 1 else turns[1][0]) and \
                (len(turns) > 1 or r.random() < 0.6):
            return turns


@kind(8)
def lookup_table(r):
    n = r.randint(2, 5)
    if r.random() < 0.5:
        keys = r.sample(LETTERS, n)
        values = [number(r, r.choice((10, 100))) for _ in range(n)]
        sign = r.choice((" = ", "=", " is ", ": "))
        text = r.choice((", ", "; ")).join(f"{k}{sign}{v}" for k, v in zip(keys, values)) + "."
        questions = [(r.choice((f"What is {k}?", f"What is the value of {k}?", f"{k}?", f"How much is {k}?", f"Tell me {k}.")),
                      f"{k} = {v}", r.choice((f"And {k}?", f"What about {k}?"))) for k, v in zip(keys, values)]
    else:
        keys = r.sample(FRUITS + OBJECTS, n)
        values = [r.randint(1, 99) for _ in range(n)]
        sign = r.choice((" costs ", ": ", " costs ", " = "))
        the = r.choice(("", "the ")) if sign == " costs " else ""
        text = statements(r, [f"{the}{k}{sign}{v}" for k, v in zip(keys, values)])
        questions = [(r.choice((f"How much is the {k}?", f"What does the {k} cost?", f"What is the price of the {k}?",
                                f"How much does the {k} cost?", f"Price of the {k}?", f"How much for the {k}?")),
                      f"The {k} costs {v}.", r.choice((f"And the {k}?", f"What about the {k}?"))) for k, v in zip(keys, values)]
    return lookup_turns(r, text, questions)


@kind(4)
def user_name(r):
    name = r.choice(NAMES)
    say = r.choice(("My name is {}.", "I am {}.", "I'm {}.", "Hi, I am {}.", "Hello, my name is {}.", "Call me {}.",
                    "Hi, I'm {}.", "Hello, I'm {}.", "hi my name is {}")).format(name)
    turns = [(say, f"Nice to meet you, {name}.")]
    if r.random() < 0.7:
        if r.random() < 0.4:
            turns += chat(r)
        turns.append((r.choice(("What is my name?", "What's my name?", "Who am I?", "Do you know my name?",
                                "Do you remember my name?", "what did I say my name is?", "How am I called?")),
                      f"Your name is {name}."))
    return turns


# ---- small talk ---------------------------------------------------------------------------------------------------

ABILITY = ("I can calculate, count, compare, sort, reverse, spell and copy words, name opposites, days, months and "
           "capitals, and look things up in what you tell me.")
CHAT = [
    ("""hi|hello|hey|hello there|hi there|hey there|hiya|hallo|good day|greetings|howdy|yo|hi!|hello!|hey!|hello :)|
hello world|helo|hii|hey you|hi bot|hello bot|hello model|hi assistant|hello friend|hi friend|hello?|anyone there?|
are you there?|hello computer|hi again|hello again""", "Hello! How can I help you?"),
    ("good morning|morning|good morning!|good morning to you", "Good morning! How can I help you?"),
    ("good afternoon|good afternoon!", "Good afternoon! How can I help you?"),
    ("good evening|evening|good evening!", "Good evening! How can I help you?"),
    ("good night|sleep well|night", "Good night!"),
    ("""bye|goodbye|bye bye|see you|see you later|see you soon|good bye|farewell|so long|cya|i have to go|i am leaving|
that is all|that's all|quit|exit""", "Goodbye!"),
    ("""thanks|thank you|thank you very much|thanks a lot|thx|many thanks|cheers|great, thanks|ok thanks|thank you so much|
thanks!|ty|that helped, thanks|thanks for your help|nice, thanks""", "You are welcome!"),
    ("""how are you?|how are you doing?|how are you today?|how do you do?|how is it going?|how's it going?|are you ok?|
what's up?|how do you feel?|are you well?|how r u|you ok?""", "I am fine, thank you. How can I help you?"),
    ("""what can you do?|what do you do?|what can you do for me?|what are you able to do?|what are your abilities?|
what can i ask you?|what can i ask?|what do you know?|what are you good at?|how can you help me?|what should i ask?|
what can you help me with?|what are you for?|what is your purpose?|what kind of questions can i ask?|
give me some examples|show me what you can do|what can i do here?|what now?|what else can you do?|
what questions can you answer?|what are your skills?""", ABILITY),
    ("help|help me|help!|can you help me?|i need help|please help|please help me|?|/help|could you help me?|h|usage|"
     "how does this work?|how do i use this?", "Ask me something like: what is 12 + 7, reverse planet, sort 5 2 9, "
     "what comes after Monday, or what is the opposite of hot."),
    ("""who are you?|what are you?|what is your name?|what's your name?|who is this?|are you a robot?|are you human?|
are you a person?|are you an ai?|are you real?|do you have a name?|introduce yourself|tell me about yourself|
who am i talking to?|are you a bot?|are you alive?|what model are you?|which model is this?|are you chatgpt?|
are you qwen?|are you a language model?|what kind of model are you?""",
     "I am a very small language model, made to show what quantization does."),
    ("""who made you?|who created you?|who built you?|who trained you?|where do you come from?|how were you made?|
how were you trained?""", "I was trained on generated questions and on technical documentation."),
    ("how big are you?|how many parameters do you have?|what is your size?|how large are you?|how many parameters?|"
     "how small are you?", "I have about 8 million parameters in 8 layers."),
    ("how many layers do you have?|how many layers?|number of layers?", "I have 8 layers: six with linear attention and "
     "two with full attention."),
    ("""what is quantization?|what does quantization mean?|explain quantization|what is quantisation?|
tell me about quantization|what does quantization do?|quantization?""",
     "Quantization stores the weights of a model with fewer bits, which saves memory and costs some accuracy."),
    ("what is perplexity?|what does perplexity mean?|explain perplexity|perplexity?",
     "Perplexity measures how well a model predicts a text: lower is better."),
    ("what is a layer?|what is a layer of a model?|explain layers|what does a layer do?",
     "A layer is one step of a model: it takes a list of numbers for each token and makes a better one."),
    ("what is a token?|what are tokens?|explain tokens|what does token mean?",
     "A token is a piece of text, often a word or a part of one, that a model reads as one unit."),
    ("what is a language model?|what is an llm?|explain language models|what does a language model do?",
     "A language model predicts which token comes next in a text."),
    ("""tell me a joke|do you know a joke?|make me laugh|joke|say something funny|another joke|tell me something funny""",
     "Why was six afraid of seven? Because seven eight nine!"),
    ("""tell me a story|write a story|write a poem|write me a poem|tell me something|say something|talk to me|
tell me something interesting|i am bored|i'm bored|surprise me|let's talk|let us talk|chat with me""",
     "I am too small for long texts, but you can ask me to calculate, sort or reverse something."),
    ("""what is the weather?|how is the weather?|what's the weather today?|what time is it?|what is the time?|
what day is it today?|what is the date?|who is the president?|who won the game?|what is the news?|
where am i?|how old am i?|what do i look like?|what am i thinking?|what year is it?|what day is it?|
will it rain tomorrow?|who will win?""", "I cannot know that."),
    ("""what is the meaning of life?|why is the sky blue?|who was einstein?|who is shakespeare?|what is love?|
what is gravity?|how does a car work?|can you write code?|write a python program|write some code|
write a c program|translate this to german|translate hello to french|do you speak german?|do you speak french?|
what is python?|what is linux?|what is the internet?|explain quantum physics|what is a black hole?|
how do i cook pasta?|give me a recipe|what is dna?|summarize this text|write an email|
what is your favourite colour?|what is your favorite color?|do you like music?|what should i eat?|
what is the best movie?|recommend a book|sing a song|can you draw?|draw a cat|are you smart?|do you dream?|
do you love me?|what do you think about war?|who is god?|what is the biggest country?|how far is the moon?|
how tall is mount everest?|when did the war end?|what is machine learning?|what is a computer?|
who wrote hamlet?|what is a cpu?|how do planes fly?|tell me about france|tell me about dogs""",
     "I am a very small model and do not know that. Ask me to calculate, count, sort or reverse something."),
    ("ok|okay|yes|no|good|great|cool|nice|well done|very good|right|correct|i see|fine|wow|sure|perfect|awesome|"
     "good job|good bot|lol|haha|interesting|hmm|alright|sounds good|not bad|impressive",
     "OK. What would you like to ask?"),
    ("""that is wrong|wrong|you are wrong|that's wrong|no, that is wrong|incorrect|bad answer|this is not right|
that's not right|are you sure?|you are stupid|you are dumb|bad bot|nonsense|really?|that makes no sense""",
     "I am sorry. I am very small and make mistakes. Please ask me again."),
    ("test|testing|test test|this is a test|1 2 3 test|is this working?|does this work?|are you working?|ping|foo|asdf|"
     "abc|blah|qwerty|testing 1 2 3|can you hear me?|can you read this?", "I am here. How can I help you?"),
    ("can you calculate?|can you do math?|can you do maths?|do you know math?|can you count?|can you add?|can you sort?|"
     "can you spell?|can you reverse words?|can you compare numbers?|can you add numbers?|do you know the capitals?|"
     "are you good at math?", "Yes, give it a try."),
    ("sorry|i am sorry|sorry about that|my mistake|oops|never mind|nevermind|forget it", "No problem."),
    ("i love you|you are great|you are nice|i like you|you are smart|you are funny|you are cool|you are awesome|"
     "you are the best", "Thank you!"),
]
CHAT = [([p.strip() for p in prompts.replace("\n", "").split("|")], answer) for prompts, answer in CHAT]
CHAT_WEIGHTS = [len(prompts) ** 0.7 for prompts, _ in CHAT]


@kind(14, scored=False)
def chat(r):
    prompts, answer = r.choices(CHAT, CHAT_WEIGHTS)[0]
    text = r.choice(prompts)
    if r.random() < 0.06 and " " in text and text[0].isalpha():
        text = r.choice(("hi, ", "hello, ", "hello! ", "hey ", "hi ", "hi! ", "ok, ", "so ")) + text
    roll = r.random()
    if roll < 0.4:
        text = text[0].upper() + text[1:]
    elif roll < 0.44:
        text = text.upper()
    if text[-1].isalpha():
        text += r.choices(("", ".", "!"), (6, 3, 2))[0]
    elif r.random() < 0.35 and len(text) > 1:
        text = text.rstrip("?!")
    if r.random() < 0.06:
        text = text.replace("'", "")
    return [(text, answer)]


# ---- dialogues ----------------------------------------------------------------------------------------------------

def normalise(text):
    return re.sub(r"[^a-z0-9+*/=-]+", " ", text.lower()).strip()


def held_out(text):
    digest = hashlib.sha256(normalise(text).encode()).digest()
    return int.from_bytes(digest[:6], "big") % HELD_OUT_ONE_IN == 0


def make(r, name):
    """One exchange of one kind, as people would type it."""
    function, _, case_matters, _ = KINDS[name]
    turns = function(r)
    if name == "chat":
        return turns
    result = []
    lower = r.random() < 0.25           # whoever writes without capitals does so throughout
    for user, assistant in turns:
        user = careless(r, user, case_matters)
        if lower and not case_matters:
            user = user.lower()
        result.append((user, assistant))
    return result


def is_held_out(name, turns):
    """A single question is known by its text, a follow-up by all that was asked before it."""
    if name == "chat":
        return False
    return any(held_out(" / ".join(u for u, _ in turns[:i + 1])) for i in range(len(turns)))


SYSTEM = ["You are a helpful assistant.", "You are a small model that answers short questions.", "Answer briefly.",
          "You are a helpful assistant. Answer briefly."]


def dialogue(r, mix=None):
    """One to four exchanges, none of them held out; `mix` gives some kinds another weight."""
    names, weights = list(KINDS), [k[1] for k in KINDS.values()]
    if mix:
        weights = [mix.get(n, w) for n, w in zip(names, weights)]
    messages = []
    if r.random() < 0.06:
        messages.append({"role": "system", "content": r.choice(SYSTEM)})
    for _ in range(r.choices((1, 2, 3, 4), (6, 3, 2, 1))[0]):
        while True:
            name = r.choices(names, weights)[0]
            turns = make(r, name)
            if not is_held_out(name, turns):
                break
        for user, assistant in turns:
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return messages


def training_batch(job):
    seed, count = job
    r = random.Random(seed)
    return [dialogue(r) for _ in range(count)]


def training_dialogues(count, seed=1, processes=None):
    """Yield `count` dialogues, made in parallel, always the same ones for the same seed."""
    jobs = [(seed * 1_000_003 + i, min(1000, count - 1000 * i)) for i in range((count + 999) // 1000)]
    with multiprocessing.Pool(processes) as pool:
        for batch in pool.imap(training_batch, jobs):
            yield from batch


def questions(count, seed=7):
    """Held-out questions, the kinds in equal parts."""
    r = random.Random(seed)
    names = [n for n, k in KINDS.items() if k[3]]
    found, seen = defaultdict(list), set()
    quota = {n: count // len(names) + (i < count % len(names)) for i, n in enumerate(names)}
    for name in names:
        tries = 0
        while len(found[name]) < quota[name]:
            tries += 1
            turns = make(r, name)
            key = normalise(" / ".join(u for u, _ in turns))
            # The last question asked must be the held-out one.
            if key in seen or not held_out(key):
                if tries > 2_000_000:
                    raise SystemExit(f"too few held-out questions of kind {name}")
                continue
            seen.add(key)
            record = {"kind": name}
            if len(turns) == 1:
                record["prompt"] = turns[0][0]
            else:
                record["messages"] = [m for u, s in turns for m in (
                    {"role": "user", "content": u}, {"role": "assistant", "content": s})][:-1]
            record["answer"] = turns[-1][1]
            found[name].append(record)
    return [q for name in names for q in found[name]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="dialogues to train on")
    train.add_argument("--count", type=int, default=800_000)
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--out", required=True)
    ask_ = commands.add_parser("questions", help="held-out questions")
    ask_.add_argument("--count", type=int, default=500)
    ask_.add_argument("--seed", type=int, default=7)
    ask_.add_argument("--out", required=True)
    check = commands.add_parser("check", help="compare replies, one JSON string a line, with the answers")
    check.add_argument("--questions", required=True)
    check.add_argument("--replies", required=True)
    args = parser.parse_args()
    if args.command == "train":
        with open(args.out, "w") as out:
            for messages in training_dialogues(args.count, args.seed):
                out.write(json.dumps(messages) + "\n")
    elif args.command == "questions":
        with open(args.out, "w") as out:
            for record in questions(args.count, args.seed):
                out.write(json.dumps(record) + "\n")
    else:
        right, total = defaultdict(int), defaultdict(int)
        with open(args.questions) as asked, open(args.replies) as replied:
            for question, reply in zip(map(json.loads, asked), map(json.loads, replied), strict=True):
                total[question["kind"]] += 1
                right[question["kind"]] += reply.strip() == question["answer"]
        for name in total:
            print(f"{name:20} {right[name]:4} / {total[name]}")
        print(f"{'all':20} {sum(right.values()):4} / {sum(total.values())}")


if __name__ == "__main__":
    main()
