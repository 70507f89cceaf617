"""What the tests in Python share: checks that are counted, and those that fail said at once."""

done = failed = 0


def check(ok, what):
    global done, failed
    done += 1
    if not ok:
        failed += 1
        print("FAILED: " + what, flush=True)
