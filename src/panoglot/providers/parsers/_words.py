"""English closed-class words and the caption words whose class a dictionary alone does not decide."""

from __future__ import annotations

DETERMINERS = frozenset(
    """a an the this that these those some any each every no all both another either neither such what which
    other""".split()
)
POSSESSIVES = frozenset("his her its their my our your it's its'".split())
PRONOUNS = frozenset("he she it they them him us we you i me who whom himself herself itself themselves one's".split())
BE = frozenset("is are was were be been being 's am 're".split())
AUXILIARIES = BE | frozenset(
    "has have had can could will would may might must should does do did getting gets get".split()
)
CONJUNCTIONS = frozenset("and or & but plus nor".split())
BREAKS = frozenset(". , ; : ! ? -lrb- -rrb-".split())
RELATIVES = frozenset("that which who where while as when whose".split())
ADVERBS = frozenset(
    """very too also just not n't so quite almost together away there here up down back out off along outside inside
    ahead forward nearby around about through over close only still already now then partly mostly fully really
    sideways upside apart indoors outdoors overhead upright downhill uphill upward upwards downward backwards else
    n't""".split()
)
NUMBERS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "several": "several", "many": "many", "multiple": "multiple",
    "few": "few", "various": "various", "numerous": "numerous", "dozen": "dozen",
}  # fmt: skip

PREPOSITIONS = frozenset(
    """on in at by to for with from into onto over under above below behind beneath beside besides between beyond near
    across against along alongside amid among amongst around atop before inside outside of off past through throughout
    toward towards underneath up upon within without about like after during down via aboard opposite""".split()
)
#: Longest first; values are how the relation is written.
PHRASES = {
    "on the side of": "on side of", "on side of": "on side of", "on the top of": "on top of", "on top of": "on top of",
    "at the top of": "on top of", "in the middle of": "in middle of", "in middle of": "in middle of",
    "in the center of": "in center of", "at the end of": "at end of", "on the end of": "on end of",
    "at the edge of": "on edge of", "on the edge of": "on edge of", "in the corner of": "in corner of",
    "on the corner of": "on corner of", "on the back of": "on back of", "in the back of": "in back of",
    "on the front of": "on front of", "in front of": "in front of", "in the front of": "in front of",
    "at the front of": "in front of", "front of": "in front of", "on the bottom of": "on bottom of",
    "at the bottom of": "on bottom of", "at the base of": "at base of", "on the edges of": "on edge of",
    "to the left of": "at the left of", "on the left of": "at the left of", "to the right of": "at the right of",
    "on the right of": "at the right of", "on the left side of": "at the left of",
    "on the right side of": "at the right of", "next to": "next to", "close to": "close to", "near to": "near",
    "on both sides of": "on side of", "on the sides of": "on side of", "by the side of": "on side of",
    "alongside of": "alongside", "inside of": "inside", "outside of": "outside", "off of": "off", "out of": "out of",
    "up against": "against", "in between": "between", "ahead of": "ahead of", "away from": "away from",
    "along side": "alongside", "along with": "with", "together with": "with", "on to": "onto", "in to": "into",
    "across from": "across from", "as well as": "and", "on either side of": "on side of", "top of": "on top of",
    "along side of": "alongside", "in the background of": "in background of", "in the shape of": "in shape of",
    "underneath of": "under", "the side of": "on side of", "side of": "on side of",
}  # fmt: skip
SAME_PREPOSITION = {
    "underneath": "under", "beneath": "under", "below": "under", "upon": "on", "atop": "on top of", "towards": "toward",
    "onto": "on", "amongst": "among",
}  # fmt: skip

#: "X of Y": what X is of Y. Kept as an attribute of Y, or X is dropped.
QUANTITIES = frozenset(
    """group bunch pair couple lot lots number set row rows pile piles stack stacks cluster herd flock crowd slice
    slices piece pieces cup cups glass bottle bottles bowl plate box bag line variety collection part patch mound body
    bit pack team display series string strand stretch dozen dozens bouquet basket bank load clump tuft pieces
    sheet""".split()
)
#: Those of them that say something about Y; the others only measure it.
KEPT_QUANTITIES = frozenset("group crowd pair couple flock herd row stack slice mound".split())
#: Two words that are one thing, against what their parts say.
COMPOUNDS = frozenset(
    [
        "ice cream", "hot dog", "hot dogs", "teddy bear", "teddy bears", "stuffed animal", "fire hydrant", "polar bear",
        "french fries", "orange juice", "mobile phone", "bell pepper", "green beans", "black board", "white board",
        "dirt bike", "rain coat", "electric pole", "baby carriage",
    ]
)  # fmt: skip
#: Nouns about the picture itself.
PICTURE = frozenset("picture photo photograph image view shot scene closeup close-up portrait photos pictures".split())

COLOURS = frozenset(
    """white black blue green red brown grey gray yellow orange pink purple silver gold golden tan beige maroon blonde
    blond teal turquoise violet cream navy lavender""".split()
)
#: Nouns that before a noun say what it is made of or like: written as an attribute.
ATTRIBUTIVE = frozenset(
    """metal wood brick stone concrete glass plastic leather paper cardboard straw dirt grass sand gravel marble steel
    iron tile rubber cotton wool denim wire asphalt cement granite bamboo wicker chrome aluminum brass copper ceramic
    clay porcelain fur silk lace velvet pine oak baby toy stainless tin foam cloth canvas fabric vinyl laptop dress
    suit polo plaid checker stripe floral dome ice snow rock mesh bronze mahogany linen nylon adult male
    female""".split()
)
#: Nouns before a noun that stay one name with it.
CLOTHES = frozenset(
    """shirt t-shirt tshirt jacket pants shorts hat cap dress suit coat shoe shoes boot boots glasses sunglasses jeans
    tie helmet glove gloves sock socks skirt sweater vest uniform hoodie scarf sneaker sneakers sandals jersey bikini
    wetsuit goggles apron blouse top outfit belt robe costume attire gear clothes clothing sweatshirt necktie tee
    visor beanie swimsuit trunks trousers leggings headband bandana tuxedo kimono overalls turban backpack tights gown
    mask wristband watch necklace bracelet ring earrings eyeglasses kneepads pads wig""".split()
)
PEOPLE = frozenset(
    """man woman boy girl person people child kid lady guy player men women boys girls baby toddler skier surfer
    skateboarder snowboarder rider batter catcher pitcher umpire officer policeman policemen worker chef bride groom
    adult children kids players skiers surfers ladies guys male female couple family cyclist biker runner spectator
    fan teenager student gentleman tennis bicyclist motorcyclist cowboy soldier firefighter skater human someone
    individual pedestrian audience kid fisherman mother father son daughter son bear""".split()
)
#: Words that look like nouns but are verbs after a noun in captions (base and third person).
VERBS = frozenset(
    """sit sits stand stands hold holds wear wears ride rides walk walks look looks play plays lie lies lay lays eat
    eats hang hangs fly flies cover covers grow grows contain contains carry carries catch catches throw throws jump
    jumps run runs lean leans swing swings reach reaches pull pulls push pushes hit hits cross crosses drive drives
    rest rests graze grazes surround surrounds line lines face faces watch watches show shows display displays cast
    casts read reads say says go goes come comes talk talks make makes take takes use uses cut cuts smile smiles pose
    poses stare stares lead leads touch touches drink drinks sleep sleeps feature features include includes overlook
    overlooks connect connects extend extends fill fills form forms point points travel travels move moves wait waits
    work works swim swims ski skis surf surfs skate skates shine shines reflect reflects enjoy enjoys perform performs
    prepare prepares appear appears has have had sat stood held wore rode walked looked played laid ate flew grew ran
    threw leads gather gathers give gives kick kicks bite bites float floats climb climbs approach approaches attempt
    attempts try tries open opens wrap wraps kneel kneels bend bends crouch crouches chase chases feed
    feeds""".split()
)
#: Participles that describe rather than relate when nothing follows.
LINKING = frozenset("look seem appear become get stay remain".split())
#: -ing words that are things.
ING_NOUNS = frozenset(
    """building clothing ceiling railing awning morning evening wedding painting frosting icing topping siding molding
    lighting flooring covering wiring sibling trimming paneling lettering stocking earring string spring pudding
    something anything nothing everything thing wing king ring swing buildings bedding seasoning dressing writing
    drawing landing bearing carpeting roofing housing fencing piping""".split()
)
#: -ing words that before a noun name its kind: cutting board, parking lot.
ING_MODIFIERS = frozenset(
    """cutting parking dining living swimming shopping bathing serving mixing washing landing rolling baking frying
    skiing surfing sleeping changing waiting hiking riding running racing wading fishing boxing batting bowling drinking
    sewing steering warning wedding wrapping""".split()
)
IRREGULAR_PARTICIPLES = frozenset(
    """stuck hung strung made bound lit built spread cut set left held worn torn thrown drawn written driven ridden
    eaten broken stood laid put shut tied wound bent sunk swept shown kept caught led fed sat""".split()
)
#: Nouns that a dictionary also calls adjectives.
NOUNS = frozenset(
    """plane remote bat ball ground train back front side top bottom base level plant square light chocolate baby giant
    human animal female male child cat dog brick model""".split()
)
#: Passives whose "by" names who does it; with others it is a place: parked by the road.
AGENT_VERBS = frozenset(
    """surround cover hold wear ride make pull push carry drive light fill line block own use eat throw lead guide cast
    frame flank obscure shade hit illuminate hide cross tow fly control follow watch catch separate connect""".split()
)
#: Verbs whose object is followed by where it goes: throw the ball to the batter.
TRANSFER = frozenset("to into from toward through".split())
SAME_VERB = {"lie": "lay"}
