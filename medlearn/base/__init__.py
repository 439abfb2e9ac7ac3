"""The ground floor: refusals at the door, geometry, seeded randomness, safe files. It uses nothing else of ours."""
