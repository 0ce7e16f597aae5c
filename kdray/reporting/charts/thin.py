"""Which points of a long curve have to be drawn so that it looks the same?"""

from collections.abc import Sequence

from kdray.reporting.charts.spec import Point


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many of the points: the first, the last, and peaks and valleys between them.

    Of each of equally long stretches that one is kept which spans the largest triangle with the
    point kept before it and the mean of the next stretch (Steinarsson 2013, "Downsampling Time
    Series for Visual Representation", largest triangle three buckets).
    """
    if len(points) <= most:
        return list(points)
    kept = [points[0]]
    edges = [1 + round(number * (len(points) - 2) / (most - 2)) for number in range(most - 1)]
    for number in range(most - 2):
        stretch = points[edges[number] : edges[number + 1]]
        following = points[edges[number + 1] : edges[min(number + 2, most - 2)]] or points[-1:]
        x = sum(point.x for point in following) / len(following)
        y = sum(point.y for point in following) / len(following)
        kept.append(max(stretch, key=lambda point: _area(kept[-1], point, x, y)))
    return [*kept, points[-1]]


def some_of(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, evenly among them, with both ends."""
    if len(values) <= most:
        return list(values)
    return [values[round(number * (len(values) - 1) / (most - 1))] for number in range(most)]


def _area(before: Point, point: Point, x: float, y: float) -> float:
    return abs((before.x - x) * (point.y - before.y) - (before.x - point.x) * (y - before.y))
