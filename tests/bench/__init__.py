"""How fast the whole is: `python -m tests.bench` measures, prints one table and writes bench.json."""
