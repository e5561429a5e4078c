# SPDX-License-Identifier: Apache-2.0
"""The table that a bench prints, or its JSON lines, and whether a limit was missed."""
import json


class Table:
    def __init__(self, bench, as_json):
        self.bench, self.as_json, self.missed = bench, as_json, 0

    def add(self, figure, value, unit, ratio=None, limit=None, ok=True):
        self.missed += not ok
        if self.as_json:
            print(json.dumps({"bench": self.bench, "figure": figure, "value": round(value, 4), "unit": unit,
                              "ratio": None if ratio is None else round(ratio, 3), "limit": limit, "ok": ok}), flush=True)
        else:
            print(f"{figure:42} {value:12.3f} {unit:10} {'' if ratio is None else f'{ratio:.2f} x':>9}"
                  f"  {'' if limit is None else limit:24} {'' if limit is None else 'ok' if ok else 'MISSED'}", flush=True)

    def at_most(self, figure, value, unit, ratio, most):
        """A figure whose ratio to the floor of the same run is limited."""
        self.add(figure, value, unit, ratio, f"at most {most} x", ratio <= most)

    def under(self, figure, value, unit, limit):
        self.add(figure, value, unit, None, f"under {limit}", value < limit)
