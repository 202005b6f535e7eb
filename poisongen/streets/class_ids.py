"""Cityscapes raw label ids of what is drawn."""

EGO_VEHICLE = 1  # ignored in training, as the next
STATIC = 4
ROAD = 7
SIDEWALK = 8
BUILDING = 11
POLE = 17
TRAFFIC_LIGHT = 19
TRAFFIC_SIGN = 20
VEGETATION = 21
TERRAIN = 22
SKY = 23
PERSON = 24
CAR = 26
BUS = 28

LABEL_IDS = (
    *(EGO_VEHICLE, STATIC, ROAD, SIDEWALK, BUILDING, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN),
    *(VEGETATION, TERRAIN, SKY, PERSON, CAR, BUS),
)
"""All that a scene may hold."""
