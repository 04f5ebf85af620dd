"""`python -m benchmarks [NAME …] [--short]`."""

import argparse

from . import chain, decode, region, storm, target

BENCHMARKS = {
    "chain": chain.run,
    "decode": decode.run,
    "region": region.run,
    "storm": storm.run,
    "target": target.run,
}


def main() -> None:
    """Run the benchmarks that are named, or all, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--short", action="store_true", help="few rounds, to show that they run")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    for name in arguments.names or BENCHMARKS:
        print(BENCHMARKS[name](3 if arguments.short else 100))


if __name__ == "__main__":
    main()
