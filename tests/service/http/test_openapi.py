import json
import re
from typing import Any

import pytest

from service.app import create_app
from service.http.problems import MEDIA_TYPE
from service.pictures.drawing import FORMATS
from service.settings import Settings


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return create_app(settings).openapi()


def test_the_three_kinds_of_body_are_described(document: dict[str, Any]) -> None:
    body = document["paths"]["/detect"]["post"]["requestBody"]
    assert body["required"]
    assert set(body["content"]) == {
        "multipart/form-data",
        "image/*",
        "application/octet-stream",
        "application/json",
    }


def test_every_refusal_is_described_as_a_problem(document: dict[str, Any]) -> None:
    responses = document["paths"]["/detect"]["post"]["responses"]
    assert set(responses) == set(
        ["200", "400", "401", "408", "413", "415", "422", "429", "500", "503", "504"]
    )
    for code, response in responses.items():
        expected = {"application/json", "text/plain", *FORMATS} if code == "200" else {MEDIA_TYPE}
        assert set(response["content"]) == expected


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert "ProblemDetails" in names
    assert names <= set(document["components"]["schemas"])


def test_every_parameter_of_the_query_is_described(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/detect"]["post"]["parameters"]
    described = {
        each["name"] for each in parameters if each["in"] == "query" and each["description"]
    }
    assert described == {
        "score_threshold",
        "max_detections",
        "classes",
        "proposals",
        "levels",
        "tiles",
        "format",
        "priority",
        "timeout_s",
    }


def test_the_types_of_problems_are_listed(document: dict[str, Any]) -> None:
    assert "/problems/overloaded" in document["info"]["description"]
