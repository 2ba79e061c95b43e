"""The two domains by name. Their pools overlap a little, as those of real data sets do."""

from selfrefine.band.domain import Domain
from selfrefine.band.domain_a import DOMAIN_A
from selfrefine.band.domain_b import DOMAIN_B

DOMAIN_BY_NAME: dict[str, Domain] = {"a": DOMAIN_A, "b": DOMAIN_B}
