"""What a drawn figure wears: random, plausible outfits.

Five kinds of garment are labelled (`CLASS_NAMES`); dresses, skirts, sleeveless tops, shoes, bags and hats are worn
too and stay unlabelled, as in photos annotated with these five classes. Knows nothing about shapes or painting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fashionseg.data.synth.cloth import Cloth, linear, random_cloth, random_colour

if TYPE_CHECKING:
    import numpy as np

    from fashionseg.data.synth.arrays import Floats


CLASS_NAMES = ("short_sleeved_shirt", "long_sleeved_shirt", "long_sleeved_outwear", "shorts", "trousers")
SHORT_SHIRT, LONG_SHIRT, OUTWEAR, SHORTS, TROUSERS = range(len(CLASS_NAMES))
UNLABELLED = -1

SHORTEST_COAT = 0.42
"""Height in body heights of the hem of a jacket that leaves most of shorts to be seen."""


@dataclass(frozen=True, slots=True)
class Top:
    """A shirt, sleeveless top or the upper part of a dress. Lengths are in body heights.

    Attributes:
        label: class index or `UNLABELLED`.
        cloth: what it is made of.
        hem: height of the lower edge above the ground.
        ease: room between body and cloth.
        boxy: 0 fitted .. 1 straight.
        flare: half breadth added at the hem.
        sleeve: fraction of the arm covered; 0 for none.
        cuff: added radius at the sleeve's end.
        neckline: "crew", "v", "collar" or "turtle".
        tucked: worn inside the trousers or skirt.
        graphic: a print on the chest.
    """

    label: int
    cloth: Cloth
    hem: float
    ease: float
    boxy: float
    flare: float
    sleeve: float
    cuff: float
    neckline: str
    tucked: bool
    graphic: bool


@dataclass(frozen=True, slots=True)
class Outer:
    """A jacket, coat or cardigan over the top.

    Attributes:
        cloth: what it is made of.
        hem: height of the lower edge.
        ease: room between body and cloth.
        flare: half breadth added at the hem.
        opening: half angle of the open front in radians at chest and hem; 0 is closed.
        neck: half angle and depth (body heights) of the V at the neck.
        lapel: width of the lapels in radians; 0 for none.
        quilted: spacing of a puffer jacket's rolls in body heights; 0 for none.
        hood: lies on the shoulders.
        buttons: spacing in body heights; 0 for none.
    """

    cloth: Cloth
    hem: float
    ease: float
    flare: float
    opening: tuple[float, float]
    neck: tuple[float, float]
    lapel: float
    quilted: float
    hood: bool
    buttons: float


@dataclass(frozen=True, slots=True)
class Bottom:
    """Trousers, shorts or a skirt.

    Attributes:
        label: class index; `UNLABELLED` is a skirt.
        cloth: what it is made of.
        waist: height of the upper edge.
        end: of trousers and shorts the fraction of the leg covered; of a skirt the height of its hem.
        ease: room between body and cloth.
        hem: radius of a leg's end; of a skirt the half breadth added at the hem.
        belt: colour of a belt, float32 [3], linear BGR; None without.
    """

    label: int
    cloth: Cloth
    waist: float
    end: float
    ease: float
    hem: float
    belt: Floats | None


@dataclass(frozen=True, slots=True)
class Outfit:
    """Everything a figure wears but its hat. `bottom` is None under a dress.

    Attributes:
        top: always worn.
        outer: over it.
        bottom: below it.
        shoes: colour, float32 [3], linear BGR.
        shaft: height of boots in body heights; 0 for low shoes.
        sock: bare calf covered by socks or tights, colour or None.
        bag: "none", "tote", "shoulder" or "backpack".
        bag_cloth: of the bag.
    """

    top: Top
    outer: Outer | None
    bottom: Bottom | None
    shoes: Floats
    shaft: float
    sock: Floats | None
    bag: str
    bag_cloth: Cloth


def random_outfit(rng: np.random.Generator) -> Outfit:
    """An outfit; the five classes come up about equally often, other garments now and then."""
    dressed = rng.random() < 0.10
    top = _dress(rng) if dressed else _top(rng)
    outer = _outer(rng) if rng.random() < (0.40 if top.label != SHORT_SHIRT else 0.22) else None
    bottom = None if dressed else _bottom(rng)
    bare = bottom is None or bottom.label != TROUSERS
    sock = random_colour(rng) * 0.6 if bare and rng.random() < 0.25 else None
    shoes = linear(*rng.choice([(26, 24, 24), (40, 56, 84), (225, 225, 225), (60, 80, 120), (90, 90, 90)]))
    bag = str(rng.choice(["none", "tote", "shoulder", "backpack"], p=[0.66, 0.12, 0.15, 0.07]))
    return Outfit(
        top,
        outer,
        bottom,
        shoes if rng.random() < 0.8 else random_colour(rng),
        float(rng.choice([0.0, rng.uniform(0.03, 0.12)])),
        sock,
        bag,
        random_cloth(rng, random_colour(rng), ("plain", "melange"), (3, 1)),
    )


def plain_outfit(rng: np.random.Generator) -> Outfit:
    """One labelled garment above and one below, both plain to see: no shirt in a jacket, no long coat, skirt or bag."""
    while True:
        outfit = random_outfit(rng)
        top, outer, bottom = outfit.top, outfit.outer, outfit.bottom
        if bottom is None or bottom.label == UNLABELLED or (outer is None and top.label == UNLABELLED):
            continue
        if outer is not None:
            if outer.hem < SHORTEST_COAT:
                continue
            top = replace(top, label=UNLABELLED, sleeve=0.0)
        return replace(outfit, top=top, sock=None, shaft=0.0, bag="none")


def _top(rng: np.random.Generator) -> Top:
    kind = rng.choice(
        ["tee", "polo", "shirt", "sweater", "hoodie", "blouse", "tank"], p=[0.34, 0.10, 0.18, 0.16, 0.07, 0.07, 0.08]
    )
    short = kind in ("tee", "polo") or (kind in ("shirt", "blouse") and rng.random() < 0.15)
    patterns = {
        "sweater": (("plain", "knit", "stripes", "melange", "blocks"), (3, 4, 2, 3, 1)),
        "hoodie": (("plain", "melange", "blocks"), (4, 2, 1)),
        "shirt": (("plain", "checks", "pinstripes", "denim", "dots", "flowers"), (5, 3, 2, 2, 1, 1)),
        "blouse": (("plain", "dots", "flowers", "stripes"), (4, 2, 2, 1)),
    }.get(str(kind), (("plain", "stripes", "melange", "dots", "flowers", "blocks", "checks"), (8, 4, 2, 1, 1, 1, 0.5)))
    cloth = random_cloth(rng, random_colour(rng), *patterns)
    tucked = bool(rng.random() < (0.3 if kind not in ("hoodie", "sweater") else 0.1))
    sleeve = float(rng.uniform(0.24, 0.47)) if short else float(rng.uniform(0.90, 1.0))
    if not short and rng.random() < 0.15:
        sleeve = float(rng.uniform(0.70, 0.85))
    neck = {"tee": ["crew", "crew", "v"], "polo": ["collar"], "shirt": ["collar"], "sweater": ["crew", "turtle", "v"]}
    return Top(
        UNLABELLED if kind == "tank" else SHORT_SHIRT if short else LONG_SHIRT,
        cloth,
        hem=float(rng.uniform(0.47, 0.55)),
        ease=float(rng.uniform(0.004, 0.014 if short else 0.018)),
        boxy=float(rng.uniform(0.1, 1.0)),
        flare=float(rng.uniform(-0.004, 0.014)),
        sleeve=0.0 if kind == "tank" else sleeve,
        cuff=float(rng.uniform(0.002, 0.012)) if short else float(rng.uniform(-0.006, 0.002)),
        neckline=str(rng.choice(neck.get(str(kind), ["crew", "v"]))),
        tucked=tucked,
        graphic=bool(kind in ("tee", "hoodie") and rng.random() < 0.35),
    )


def _dress(rng: np.random.Generator) -> Top:
    cloth = random_cloth(rng, random_colour(rng), ("plain", "flowers", "dots", "stripes", "checks"), (5, 3, 2, 1, 1))
    return Top(
        UNLABELLED,
        cloth,
        hem=float(rng.uniform(0.12, 0.36)),
        ease=float(rng.uniform(0.003, 0.010)),
        boxy=float(rng.uniform(0.0, 0.4)),
        flare=float(rng.uniform(0.01, 0.09)),
        sleeve=float(rng.choice([0.0, rng.uniform(0.15, 0.4), 0.95], p=[0.5, 0.3, 0.2])),
        cuff=0.004,
        neckline=str(rng.choice(["crew", "v"])),
        tucked=False,
        graphic=False,
    )


def _outer(rng: np.random.Generator) -> Outer:
    kind = str(
        rng.choice(["blazer", "coat", "bomber", "cardigan", "puffer", "denim"], p=[0.26, 0.26, 0.16, 0.12, 0.08, 0.12])
    )
    ground = linear(*rng.uniform((70, 50, 30), (170, 125, 95))) if kind == "denim" else random_colour(rng)
    if kind in ("blazer", "coat") and rng.random() < 0.6:
        ground = ground * 0.4
    patterns = {
        "denim": (("denim",), (1,)),
        "cardigan": (("knit", "plain", "melange"), (3, 2, 2)),
        "blazer": (("plain", "melange", "checks", "pinstripes"), (5, 2, 1, 1)),
        "coat": (("plain", "melange", "checks"), (5, 3, 1)),
    }.get(kind, (("plain", "melange", "blocks"), (5, 1, 1)))
    opened = rng.random() < {"cardigan": 0.8, "puffer": 0.4}.get(kind, 0.6)
    gap = float(rng.uniform(0.10, 0.48)) if opened else 0.0
    hem = {"coat": rng.uniform(0.22, 0.42), "bomber": rng.uniform(0.52, 0.55), "denim": rng.uniform(0.52, 0.56)}
    return Outer(
        random_cloth(rng, ground, *patterns),
        hem=float(hem.get(kind, rng.uniform(0.43, 0.51))),
        ease=float(rng.uniform(0.012, 0.022) + (0.012 if kind == "puffer" else 0)),
        flare=float(rng.uniform(0.0, 0.022)),
        opening=(gap, gap * float(rng.uniform(1.0, 1.7))),
        neck=(
            float(rng.uniform(0.35, 0.8)),
            float(rng.uniform(0.02, 0.05) if kind in ("puffer", "bomber") else rng.uniform(0.07, 0.15)),
        ),
        lapel=float(rng.uniform(0.25, 0.5)) if kind in ("blazer", "coat") else 0.0,
        quilted=float(rng.uniform(0.03, 0.05)) if kind == "puffer" else 0.0,
        hood=bool(kind in ("bomber", "puffer") and rng.random() < 0.4),
        buttons=float(rng.uniform(0.045, 0.09)) if kind not in ("bomber", "puffer") else 0.0,
    )


def _bottom(rng: np.random.Generator) -> Bottom:
    kind = str(
        rng.choice(["jeans", "chinos", "suit", "leggings", "shorts", "skirt"], p=[0.26, 0.16, 0.09, 0.05, 0.34, 0.10])
    )
    ground = random_colour(rng)
    if kind == "jeans" or (kind == "shorts" and rng.random() < 0.3):
        ground = linear(*rng.uniform((50, 32, 18), (175, 130, 100)))
        cloth = random_cloth(rng, ground, ("denim",), (1,))
    elif kind == "leggings":
        cloth = random_cloth(rng, ground * 0.25, ("plain",), (1,))
    else:
        cloth = random_cloth(rng, ground, ("plain", "melange", "checks", "pinstripes", "flowers"), (8, 2, 1, 1, 0.6))
    waist = float(rng.uniform(0.575, 0.625))
    belt = random_colour(rng) * 0.3 if rng.random() < 0.35 else None
    if kind == "skirt":
        return Bottom(
            UNLABELLED, cloth, waist, float(rng.uniform(0.14, 0.40)), 0.004, float(rng.uniform(0.0, 0.09)), belt
        )
    if kind == "shorts":
        ease = float(rng.uniform(0.006, 0.018))
        return Bottom(
            SHORTS,
            cloth,
            waist,
            float(rng.uniform(0.22, 0.52)),
            ease,
            0.043 + ease + float(rng.uniform(0, 0.016)),
            belt,
        )
    ease = 0.001 if kind == "leggings" else float(rng.uniform(0.002, 0.012))
    hem = float(rng.uniform(0.024, 0.034)) if ease < 0.006 else float(rng.uniform(0.032, 0.052))
    return Bottom(TROUSERS, cloth, waist, float(rng.uniform(0.88, 1.02)), ease, hem, belt)
